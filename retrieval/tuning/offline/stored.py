"""The document weights of an index, read from the cluster once: what every offline simulation starts from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osparse.contracts.deployment import Deployment, stored_vectors, token_of
from osparse.deployer.cluster.api import ClusterApi
from osparse.errors import InputError
from osparse.formula.lexicon import Lexicon
from osparse.io.progress import progress
from osparse.retrieval.serving.settings import Pruning
from osparse.retrieval.tuning.offline.pruning import kept

log = logging.getLogger("osparse.retrieval.tuning.offline.stored")

PAGE = 1000
"""Documents read in one request."""


@dataclass(frozen=True, eq=False)
class StoredVectors:
    """N documents in ascending id order and their P weights."""

    ids: tuple[str, ...]
    langs: NDArray[np.str_]
    """(N,) value of the field ``lang``, empty where there is none."""
    rows: NDArray[np.int64]
    """(P,) ascending."""
    tokens: NDArray[np.int64]
    """(P,) token ids."""
    values: NDArray[np.float32]
    """(P,) weights as they were sent, before the index rounds them."""

    def pruned(self, choice: Pruning | None) -> StoredVectors:
        if choice is None:
            return self
        stay = kept(self.rows, self.values, choice)
        return StoredVectors(self.ids, self.langs, self.rows[stay], self.tokens[stay], self.values[stay])

    @property
    def postings(self) -> int:
        return len(self.rows)


def read_stored(api: ClusterApi, index: str, deployment: Deployment, lexicon: Lexicon) -> StoredVectors:
    """Read every document's weights from its ``_source``.

    Raises:
        InputError: no document has weights, or documents are kept in pieces, whose best piece counts: such an index
            is tuned by live searches only.
        ClusterError: a page was lost.
    """
    if deployment.chunks:
        raise InputError(f"{index} keeps documents in pieces; their scores are not simulated")
    ids, langs = list[str](), list[str]()
    lengths, tokens, values = list[int](), list[NDArray[np.int64]](), list[NDArray[np.float32]]()
    to_id = _token_ids(deployment, lexicon)
    with progress(f"read weights of {index}", api.count(index), "documents") as bar:
        for hit in _documents(api, index, deployment.field):
            vector = _vector(hit.get("_source", {}), deployment.field)
            ids.append(hit["_id"])
            langs.append(str(hit.get("_source", {}).get("lang") or ""))
            lengths.append(len(vector))
            tokens.append(np.fromiter(map(to_id, vector), np.int64, len(vector)))
            values.append(np.fromiter(vector.values(), np.float32, len(vector)))
            bar.advance()
    if not sum(lengths):
        raise InputError(
            f"no document of {index} has weights in its _source; load documents with: osparse index --index {index}"
        )
    return _by_id(ids, langs, np.array(lengths), np.concatenate(tokens), np.concatenate(values))


def _documents(api: ClusterApi, index: str, field: str) -> Iterator[dict[str, Any]]:
    with closing(api.pages(index, PAGE, {"includes": [field, "lang"]})) as pages:
        for hits in pages:
            yield from hits


def _vector(source: Mapping[str, Any], field: str) -> dict[str, float]:
    vectors = stored_vectors(source, field)
    return vectors[0] if vectors else {}


def _token_ids(deployment: Deployment, lexicon: Lexicon) -> Callable[[str], int]:
    """Feature name -> token id; a name of no token (two tokens of one name) has no id of its own: -1 is refused."""
    if deployment.vector == "sparse_vector":
        return int
    by_token = {token: number for number, token in enumerate(lexicon.tokens)}
    known: dict[str, int] = {}

    def to_id(feature: str) -> int:
        if feature not in known:
            token = token_of(feature, deployment.key_style)
            if token not in by_token:
                raise InputError(
                    f"the index has weights for {feature!r}, which is no token of its bundle; its documents are of "
                    "another model: load them again with: osparse index --force"
                )
            known[feature] = by_token[token]
        return known[feature]

    return to_id


def _by_id(
    ids: list[str],
    langs: list[str],
    lengths: NDArray[np.int64],
    tokens: NDArray[np.int64],
    values: NDArray[np.float32],
) -> StoredVectors:
    order = sorted(range(len(ids)), key=ids.__getitem__)
    place = np.empty(len(ids), dtype=np.int64)
    place[order] = np.arange(len(ids))
    rows = np.repeat(place, lengths)
    by_row = np.lexsort((-values, rows))  # pruning sorts so too, and what is sorted is sorted quickly
    return StoredVectors(
        tuple(ids[i] for i in order),
        np.array([langs[i] for i in order]),
        rows[by_row],
        tokens[by_row],
        values[by_row],
    )
