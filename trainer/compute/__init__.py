"""Processes, precision, gradient caching, optimiser, memory and signals."""
