"""Encoding on this machine: texts cut into pieces, the encoder of a bundle in this process or in several."""
