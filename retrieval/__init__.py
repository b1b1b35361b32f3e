"""Search, explain and measure a deployed index or a model.

search(cluster, "products", "동영상 편집기", top=3)
report = evaluate("build/dataset", cluster=cluster, index="products", baseline="bm25")
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
