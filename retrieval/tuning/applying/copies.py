"""Copies of an index, pruned or built otherwise: made to be measured and deleted again, or to fill the index that takes
over.

No text is encoded again: the stored weights are written as they are, or pruned.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.rest.indices import MERGE_TIMEOUT
from osparse.deployer.index.seismic_parameters import as_mapped
from osparse.deployer.load.bulk import Line, send_bulk
from osparse.deployer.load.documents import HASH_FIELD
from osparse.deployer.segments.segments import force_merge
from osparse.errors import ClusterError
from osparse.io.progress import progress
from osparse.retrieval.serving.index_copy import body_of_copy
from osparse.retrieval.serving.settings import Pruning, SeismicBuild, Storage
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
            rows = [(hit["_id"], _with_plain_hash(pruned_source(hit["_source"], field, choice))) for hit in hits]
            refused = send_bulk(api, target, [Line(document, row, ingest=False) for document, row in rows])
            if refused:
                raise ClusterError(f"{target} refused {len(refused)} documents: {refused[0].id}: {refused[0].reason}")
            written += len(rows)
            bar.advance(len(rows))
    api.refresh(target, timeout=MERGE_TIMEOUT)
    return written


def _with_plain_hash(source: dict[str, Any]) -> dict[str, Any]:
    """With the hash of a row that took no field out, as a copy of the document has it: it is not encoded again."""
    stored = source.get(HASH_FIELD)
    return {**source, HASH_FIELD: stored.partition("-")[0]} if isinstance(stored, str) else source


class Copies:
    """Indices with the documents of one, stored differently, in one segment each: sizes and times can be compared."""

    def __init__(self, api: ClusterApi, alias: str, concrete: str, field: str) -> None:
        self.api, self.alias, self.concrete, self.field = api, alias, concrete, field
        self.places: dict[Storage, str] = {}
        """How the documents are stored -> the copy."""
        self._original = (api.get_index(concrete) or {})[concrete]
        self._made = 0

    def add(self, storage: Storage) -> str:
        """Make a copy; returns its name."""
        name = f"{self.alias}-tuning-copy-{self._made}"
        self._made += 1
        self.places[storage] = name  # before it is there, so that an interruption leaves nothing
        if not self.api.create_index(name, self._body(storage)):
            del self.places[storage]
            raise ClusterError(f"{name} exists and is not a copy that osparse tune made; rename or delete it")
        fill(self.api, self.concrete, name, self.field, storage if isinstance(storage, Pruning) else None)
        force_merge(self.api, name)
        return name

    def drop(self, storage: Storage) -> None:
        """Delete a copy that is not needed any more."""
        self.api.delete_index(self.places[storage])
        del self.places[storage]

    def close(self) -> None:
        """Delete all of them; one that cannot be deleted is named in a warning, the next run deletes it."""
        for name in self.places.values():
            try:
                self.api.delete_index(name)
            except ClusterError as problem:
                log.warning("%s could not be deleted (%s); it is deleted when osparse tune runs again", name, problem)

    def _body(self, storage: Storage) -> dict[str, Any]:
        body = copy.deepcopy(body_of_copy(self._original, {COPY_META_KEY: {"of": self.concrete}}))
        body["settings"]["index"] = {**body["settings"]["index"], "refresh_interval": "-1"}  # few segments to merge
        if isinstance(storage, SeismicBuild):
            body["mappings"]["properties"][self.field]["method"]["parameters"] |= as_mapped(storage.given)
        return body


@contextmanager
def copies_of(api: ClusterApi, alias: str, concrete: str, field: str) -> Iterator[Copies]:
    """Copies of an index, all deleted at the end, however that comes."""
    remove_copies(api, alias)
    copies = Copies(api, alias, concrete, field)
    try:
        yield copies
    finally:
        copies.close()


def add_in_time(copies: Copies, choices: Sequence[Storage], deadline: float = math.inf) -> None:
    """Make the copies one after the other while there is time.

    Args:
        deadline: By ``time.monotonic``: no further copy is begun that would end later, judged by the one before it.
    """
    for choice in choices:
        begun = time.monotonic()
        copies.add(choice)
        if 2 * time.monotonic() - begun > deadline:
            return


def remove_copies(api: ClusterApi, alias: str) -> None:
    """Delete the copies that an interrupted run left."""
    for name, meta in api.all_meta(f"{alias}-tuning-copy-*").items():
        if COPY_META_KEY in meta:
            log.info("deleting %s, which an interrupted run left", name)
            api.delete_index(name)
