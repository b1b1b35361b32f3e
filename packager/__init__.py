"""Package a model as a bundle that OpenSearch ML Commons accepts, and verify it.

bundle = package("build/model", "build/bundle")
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
