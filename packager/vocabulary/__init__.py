"""Trimming a checkpoint's vocabulary for a corpus."""
