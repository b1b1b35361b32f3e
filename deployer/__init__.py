"""Deploy a bundle to OpenSearch, load documents, operate it; and the embedded node.

    cluster = open_cluster("http://127.0.0.1:9210")
    deploy(Bundle.open("bundle"), cluster, "products")
    index_documents(cluster, "products", [Path("documents.jsonl")])

``__init__.pyi`` lists what is public; each name is imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
