"""Which records make the batch of a step: a pure function of seed, stage and step, so resuming needs no position."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from osparse.errors import DatasetError
from osparse.trainer.records import Records

NEAREST_ROWS = 512
"""Records compared with all others at a time."""


class BatchSampler:
    """Batches without two records of one group: no query meets its own document, or a sibling, as a negative."""

    def __init__(
        self,
        groups: NDArray[np.int64],
        batch: int,
        seed: tuple[int, ...],
        similar: NDArray[np.int64] | None = None,
    ) -> None:
        """Args:
        groups: (R,) group number of each record.
        seed: Any integers.
        similar: (R, k) records that resemble each record; those still undealt come into its batch with it.
        """
        distinct = require_groups(groups)
        self.groups, self.seed, self.similar = groups, seed, similar
        self.batch = min(batch, distinct)
        self._epoch: tuple[int, list[NDArray[np.int64]]] = (-1, [])
        self._first = [0]
        """First step of each epoch seen so far."""

    def at(self, step: int) -> NDArray[np.int64]:
        """(batch,) record numbers of a step."""
        epoch = int(np.searchsorted(self._first, step, side="right")) - 1
        while True:
            if self._epoch[0] != epoch:
                self._epoch = (epoch, list(self._deal(np.random.default_rng([*self.seed, epoch]))))
            following = self._first[epoch] + len(self._epoch[1])
            if epoch + 1 == len(self._first):
                self._first.append(following)
            if step < following:
                return self._epoch[1][step - self._first[epoch]]
            epoch += 1

    def _deal(self, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        """One pass over the records; what no longer fills a batch waits for the next pass."""
        order = generator.permutation(len(self.groups)).tolist()
        undealt = dict.fromkeys(order)
        while True:
            taken: dict[int, int] = {}
            for record in order:
                if len(taken) == self.batch:
                    break
                if record in undealt:
                    for one in [record, *([] if self.similar is None else self.similar[record].tolist())]:
                        if len(taken) < self.batch and one in undealt and int(self.groups[one]) not in taken:
                            taken[int(self.groups[one])] = one
            if len(taken) < self.batch:
                return
            for record in taken.values():
                del undealt[record]
            order = list(undealt)
            yield np.array(list(taken.values()), dtype=np.int64)


def require_groups(groups: NDArray[np.int64]) -> int:
    """How many groups there are; raises :class:`DatasetError` for one alone."""
    distinct = len(np.unique(groups))
    if distinct < 2:
        raise DatasetError("the train split has one group of records; in-batch negatives need at least two")
    return distinct


def nearest(records: Records, idf: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """(R, k) of each record the k records of other groups with the nearest TF-IDF vectors over all their texts.

    Their documents are hard negatives for each other, and being in one batch they cost nothing more.
    """
    matrix = tf_idf(records, idf).T.tocsr()  # (R, V)
    found = np.empty((len(records), min(k, len(records) - 1)), dtype=np.int64)
    for start in range(0, len(records), NEAREST_ROWS):
        rows = slice(start, start + NEAREST_ROWS)
        scores = (matrix[rows] @ matrix.T).toarray()
        scores[records.groups[rows, None] == records.groups[None]] = -1.0
        found[rows] = np.argsort(-scores, axis=1, kind="stable")[:, : found.shape[1]]
    return found


def tf_idf(records: Records, idf: NDArray[np.float32]) -> sparse.csr_matrix:
    """(V, R) a record's queries, counted twice, and documents in all languages as one column of length 1."""
    rows, columns, values = [], [], []
    for column, record in enumerate(records.records):
        texts = [*record.queries, *record.queries, *record.documents]
        tokens, counts = np.unique(np.concatenate([text.ids for text in texts]), return_counts=True)
        weights = (1 + np.log(counts)) * idf[tokens]
        rows.append(tokens)
        columns.append(np.full(len(tokens), column))
        values.append(weights / np.linalg.norm(weights))
    coordinates = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_matrix((np.concatenate(values), coordinates), shape=(len(idf), len(records)))
