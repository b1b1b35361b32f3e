"""Masked language models of transformers: loading, architectures, and GTE by own code; imports no torch by itself."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
