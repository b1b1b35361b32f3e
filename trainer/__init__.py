"""Train an inference-free sparse encoder. Importing this package imports no torch.

model = train("configs/quickstart.yaml", "build/dataset", "build/model")
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
