"""Copies of an index with pruned weights: made to be measured and deleted again, or to fill the index that takes over.

No text is encoded again: the stored weights are pruned and written as they are.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.load.bulk import Line, send_bulk
from osparse.deployer.segments.segments import force_merge
from osparse.errors import ClusterError
from osparse.io.progress import progress
from osparse.retrieval.serving.index_copy import body_of_copy
from osparse.retrieval.serving.settings import Pruning
from osparse.retrieval.tuning.offline.pruning import kept

log = logging.getLogger("osparse.retrieval.tuning.applying.copies")

COPY_META_KEY = "osparse_tuning_copy"
"""In the ``_meta`` of an index that was made to be measured only."""
PAGE = 256
"""Documents read and written together."""


def pruned_source(source: Mapping[str, Any], field: str, choice: Pruning | None) -> dict[str, Any]:
    """A document with fewer weights; a field that loses all of them is left out, as of a text without tokens."""
    vector = source.get(field)
    if choice is None or not isinstance(vector, Mapping) or not vector:
        return dict(source)
    values = np.fromiter(vector.values(), np.float32, len(vector))
    stay = kept(np.zeros(len(values), np.int64), values, choice)
    left = {name: weight for (name, weight), stays in zip(vector.items(), stay, strict=True) if stays}
    return {**source, field: left}


def fill(api: ClusterApi, source: str, target: str, field: str, choice: Pruning | None) -> int:
    """Write every document of ``source`` into ``target`` with its weights pruned; returns how many.

    Raises:
        ClusterError: documents were refused, or a page was lost.
    """
    total, written = api.count(source), 0
    with (
        progress(f"copy {source} to {target}", total, "documents") as bar,
        closing(api.pages(source, PAGE, {})) as pages,
    ):
        for hits in pages:
            rows = [(hit["_id"], pruned_source(hit["_source"], field, choice)) for hit in hits]
            refused = send_bulk(api, target, [Line(document, row, ingest=False) for document, row in rows])
            if refused:
                raise ClusterError(f"{target} refused {len(refused)} documents: {refused[0].id}: {refused[0].reason}")
            written += len(rows)
            bar.advance(len(rows))
    api.refresh(target)
    return written


@contextmanager
def measured_copies(
    api: ClusterApi,
    alias: str,
    concrete: str,
    field: str,
    choices: Sequence[Pruning | None],
    deadline: float = math.inf,
) -> Iterator[dict[Pruning | None, str]]:
    """Pruning -> an index with the documents of ``concrete`` pruned so, in one segment; deleted at the end.

    Args:
        deadline: By ``time.monotonic``: no further copy is begun that would end later, judged by the one before it.
    """
    remove_copies(api, alias)
    copies: dict[Pruning | None, str] = {}
    original = (api.get_index(concrete) or {})[concrete]
    try:
        for number, choice in enumerate(choices):
            begun = time.monotonic()
            name = f"{alias}-tuning-copy-{number}"
            api.create_index(name, body_of_copy(original, {COPY_META_KEY: {"of": concrete}}))
            copies[choice] = name
            fill(api, concrete, name, field, choice)
            force_merge(api, name)  # sizes and times of several indices can then be compared
            if 2 * time.monotonic() - begun > deadline:
                break
        yield copies
    finally:
        for name in copies.values():
            api.delete_index(name)


def remove_copies(api: ClusterApi, alias: str) -> None:
    """Delete the copies that an interrupted run left."""
    for name, meta in api.all_meta(f"{alias}-tuning-copy-*").items():
        if COPY_META_KEY in meta:
            log.info("deleting %s, which an interrupted run left", name)
            api.delete_index(name)
