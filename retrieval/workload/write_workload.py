"""Write a deployed index and many queries as a workload of OpenSearch Benchmark."""

from __future__ import annotations

import bz2
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from osparse.deployer.cluster.api import ClusterApi, ndjson
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.names import check_index_name
from osparse.errors import ClusterError, InputError
from osparse.io.files import atomic_directory, write_atomic
from osparse.io.progress import progress
from osparse.retrieval.loadtest.systems import available_systems, bodies
from osparse.retrieval.searcher import Searcher
from osparse.retrieval.serving.index_copy import body_of_copy
from osparse.retrieval.workload.specification import (
    DOCUMENTS,
    INDEX_BODY,
    PLUGIN,
    as_raw,
    as_template,
    queries_file,
    specification,
)

PAGE = 256
"""Documents read in one request."""
SPECIFICATION = "workload.json"


@dataclass(frozen=True)
class Workload:
    """A workload that was written."""

    path: Path
    index: str
    """Name of the index that the workload creates."""
    documents: int
    queries: dict[str, int]
    """System -> search bodies."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "path": str(self.path)}

    def __str__(self) -> str:
        asked = ", ".join(f"{name} {number:,}" for name, number in self.queries.items())
        return (
            f"{self.path}: {self.documents:,} documents; searches: {asked}\n"
            f"run it with: opensearch-benchmark run --pipeline benchmark-only --workload-path {self.path} "
            "--target-hosts HOST:PORT\n"
            f"it deletes and creates the index {self.index} there"
        )


def write_workload(
    cluster: Cluster,
    index: str,
    texts: Sequence[str],
    output: Path | str,
    *,
    system: Sequence[str] = (),
    name: str | None = None,
    overwrite: bool = False,
) -> Workload:
    """Write the documents of a deployed index with their weights, its mapping, and search bodies for each system.

        write_workload(cluster, "products", ["video editor"], "build/workload")

    The bodies hold token weights, so that the workload needs no model and no pipeline.

    Args:
        texts: The queries.
        output: A folder, which need not exist.
        system: As in :func:`osparse.retrieval.load_test`; all that are sent in one request without any.
        name: Of the index that the workload creates; ``<index>-workload`` without it.
        overwrite: Replace a workload in ``output``.

    Raises:
        InputError: no queries, a system that is not possible, a ``name`` that is an index's already, an ``output`` in
            use.
        ClusterError: the index cannot be read, is empty, or does not keep the ``_source`` of its documents.
    """
    searcher, api = Searcher(cluster, index), ClusterApi(cluster)
    searcher.check_one_field("a workload")
    systems, created = _systems(searcher, system), name or f"{index}-workload"
    check_index_name(created)
    if api.get_mapping(created):
        raise InputError(
            f"{created} exists on {cluster.url}, and a workload deletes the index of its name; give another `name`"
        )
    sent = {one: bodies(searcher, one, list(texts)) for one in systems}
    if empty := [one for one, made in sent.items() if not made]:
        raise InputError(f"none of the {len(texts)} queries can be asked of {', '.join(empty)}: no token is known")
    ((concrete, found),) = (api.get_index(index) or {}).items()
    with atomic_directory(Path(output), marker=SPECIFICATION, overwrite=overwrite) as folder:
        written = _write_documents(api, concrete, created, folder)
        write_atomic(folder / INDEX_BODY, as_raw(body_of_copy(found)))
        for one, made in sent.items():
            write_atomic(folder / queries_file(one), ndjson(made))
        write_atomic(folder / PLUGIN, Path(__file__).with_name("plugin.py.txt").read_bytes())
        description = f"Index {index} of {written['document-count']} documents, bundle {searcher.deployment.bundle}"
        write_atomic(folder / SPECIFICATION, as_template(specification(created, description, systems, written)))
    queries = {one: len(made) for one, made in sent.items()}
    return Workload(Path(output), created, written["document-count"], queries)


def _systems(searcher: Searcher, asked: Sequence[str]) -> list[str]:
    possible = [
        name
        for name in available_systems(searcher.deployment, searcher.setting)
        if name != "hybrid" and (name != "deployed" or _is_independent(searcher))
    ]
    wrong = [name for name in asked if name not in possible]
    if wrong:
        raise InputError(
            f"`system` {', '.join(wrong)}: a workload of {searcher.index} can have {', '.join(possible)} (one request "
            "for each query, no pipeline)"
        )
    return [*dict.fromkeys(asked)] or possible


def _is_independent(searcher: Searcher) -> bool:
    """Whether the recorded setting is one request that holds all its weights itself."""
    return searcher.in_one_request and searcher.deployment.mode == "client"


def _write_documents(api: ClusterApi, concrete: str, created: str, folder: Path) -> dict[str, int]:
    """Write every document after the action that indexes it; the counts and sizes that the workload names."""
    path, documents, size = folder / f"{DOCUMENTS}.bz2", 0, 0
    with (
        progress(f"documents of {concrete}", api.count(concrete), "documents") as bar,
        bz2.open(path, "wb") as file,
        closing(api.pages(concrete, PAGE, {})) as pages,
    ):
        for hits in pages:
            lines = _lines(concrete, created, hits)
            documents, size = documents + len(hits), size + len(lines)
            file.write(lines)
            bar.advance(len(hits))
    if not documents:
        raise ClusterError(f"{concrete} has no documents, so there is nothing to load in a benchmark; load some first")
    return {"document-count": documents, "compressed-bytes": path.stat().st_size, "uncompressed-bytes": size}


def _lines(concrete: str, created: str, hits: Sequence[Mapping[str, Any]]) -> bytes:
    rows = []
    for hit in hits:
        if "_source" not in hit:
            raise ClusterError(f"index {concrete} does not keep the _source of its documents, so they cannot be copied")
        rows += [{"index": {"_index": created, "_id": hit["_id"]}}, hit["_source"]]
    return ndjson(rows)
