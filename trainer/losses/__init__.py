"""Losses as pure functions of tensors, by kind.

from osparse.trainer import losses
losses.info_nce(scores, target, temperature=1.0)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
