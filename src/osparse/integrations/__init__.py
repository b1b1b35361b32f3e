"""Other engines: shards and query weights in the form that each takes. One module per engine."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
