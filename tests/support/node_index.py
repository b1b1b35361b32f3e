"""An index of the real node that holds a dataset, for the tests of one module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from osparse.contracts.bundle import Bundle
from osparse.deployer import Cluster, deploy, index_documents, open_cluster


@contextmanager
def loaded_index(url: str, bundle: Bundle, index: str, dataset: Path) -> Iterator[Cluster]:
    """The bundle in client mode with the dataset's documents; deleted at the end, with the indices of BM25."""
    cluster = open_cluster(url)
    deploy(bundle, cluster, index, mode="client")
    index_documents(cluster, index, [dataset])
    yield cluster
    cluster.request("DELETE", f"/{index}-{bundle.short}")
    for lang in ("ko", "en"):
        cluster.request("DELETE", f"/{index}-bm25-{lang}", allow=(404,))
