"""Checks of a finished bundle: contents, graphs, the ML Commons emulator, the server's runtime."""
