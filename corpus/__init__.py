"""Build datasets from raw text; tokenizers, query weights, hard negatives, synonyms.

    build_dataset("jsonl", ["documents.jsonl"], "build/dataset")

``__init__.pyi`` lists what is public; each name is imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
