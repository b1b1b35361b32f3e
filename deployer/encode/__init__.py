"""Encoding on this machine: the encoder of a bundle in this process or in several."""
