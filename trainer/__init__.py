"""Train an inference-free sparse encoder. Importing this package imports no torch.

model = train("quickstart", "build/dataset", "build/model", tokenizer="build/tokenizer", idf="build/idf.json")

A step of the ranking stage in reading order: run.py -> config/inputs.py -> training.py -> loop/build_stages.py ->
loop/loop.py -> loop/step.py -> stages/ranking.py -> data/batch.py -> compute/gradient_cache.py ->
osparse.encoders.torch_encoder -> losses/ -> stages/sparsity.py.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
