"""Which records make the batch of a step: a pure function of seed, stage and step, so resuming needs no position."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from osparse.errors import ConfigError, DatasetError
from osparse.trainer.config.run_config import Mixing
from osparse.trainer.config.stage_config import settled
from osparse.trainer.data.training_records import TrainingRecords

NEAREST_ROWS = 512
"""Records compared with all others at a time."""
TELLING = 12
"""Tokens by which a record looks for those that resemble it, if there are more than :data:`MANY`."""
MANY = 10_000
"""Records above which comparing all tokens of all takes minutes; frequent tokens say little and cost most."""


@dataclass(frozen=True, eq=False)
class Shares:
    """How many records each source deals in an epoch."""

    source: NDArray[np.int64]
    """(R,) number of each record's source."""
    records: NDArray[np.int64]
    """(S,) records of each source in an epoch."""

    def draw(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first records of each source in ``order``, as many as it deals, in that order."""
        chosen = np.zeros(len(order), dtype=np.bool_)
        for number, count in enumerate(self.records):
            chosen[np.flatnonzero(self.source[order] == number)[:count]] = True
        return order[chosen]


def shares(records: TrainingRecords, mixing: Mixing | None) -> Shares | None:
    """Records per source and epoch: n = min(records, cap), then n_smallest x (n / n_smallest)^exponent.

    Raises :class:`ConfigError` if a cap names a source that the training split does not have.
    """
    if mixing is None:
        return None
    names, source = records.sources
    unknown = sorted({cap.source for cap in mixing.caps} - {*names})
    if unknown:
        raise ConfigError(
            "mixing.caps", [f"no source {name!r}; the train split has: {', '.join(names)}" for name in unknown]
        )
    limit = {cap.source: cap.records for cap in mixing.caps}
    available = [min(count, limit.get(names[i], count)) for i, count in enumerate(np.bincount(source).tolist())]
    smallest = min(available)
    dealt = [int(round(smallest * (count / smallest) ** settled(mixing.exponent))) for count in available]
    return Shares(source, np.array(dealt, dtype=np.int64))


class BatchSampler:
    """Batches without two records of one group: no query meets its own document, or a sibling, as a negative."""

    def __init__(
        self,
        groups: NDArray[np.int64],
        batch: int,
        seed: tuple[int, ...],
        similar: NDArray[np.int64] | None = None,
        mixed: Shares | None = None,
    ) -> None:
        """Args:
        groups: (R,) group number of each record.
        seed: Any integers.
        similar: (R, k) records that resemble each record; those still undealt come into its batch with it.
        mixed: What each source deals in an epoch; None deals all records.

        Raises :class:`DatasetError` when there are no two groups to deal.
        """
        distinct = require_groups(groups)
        self.groups, self.seed, self.similar, self.mixed = groups, seed, similar, mixed
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
        """One pass over the records; what no longer fills a batch waits for the next pass.

        A record whose group is in the batch already comes first in a later one. Linear in the records.
        """
        drawn = generator.permutation(len(self.groups))
        order = drawn if self.mixed is None else self.mixed.draw(drawn)
        position = np.empty(len(self.groups), dtype=np.int64)
        position[order] = np.arange(len(order))
        undealt = np.zeros(len(self.groups), dtype=np.bool_)
        undealt[order] = True
        deferred: dict[int, deque[int]] = {}
        """Group -> its records that were passed over, in order."""
        start, dealt = 0, False
        while True:
            taken: dict[int, int] = {}
            for record in sorted(self._due(deferred, undealt), key=position.__getitem__):
                self._take(record, taken, undealt)
            while len(taken) < self.batch and start < len(order):
                record = int(order[start])
                start += 1
                if undealt[record] and self._take(record, taken, undealt) != record:
                    deferred.setdefault(int(self.groups[record]), deque()).append(record)
            if len(taken) < self.batch and dealt:
                return
            if len(taken) < min(2, self.batch):
                raise DatasetError("mixing deals records of one group alone; raise its caps or exponent")
            dealt = True  # an epoch smaller than a batch is one batch
            batch = np.array(list(taken.values()), dtype=np.int64)
            undealt[batch] = False
            yield batch

    def _due(self, deferred: dict[int, deque[int]], undealt: NDArray[np.bool_]) -> list[int]:
        """The deferred records that may change a batch: one of each group, or all where they bring similar ones."""
        for group, records in list(deferred.items()):
            while records and not undealt[records[0]]:
                records.popleft()
            if not records:
                del deferred[group]
        if self.similar is None:
            return [records[0] for records in deferred.values()]
        return [record for records in deferred.values() for record in records if undealt[record]]

    def _take(self, record: int, taken: dict[int, int], undealt: NDArray[np.bool_]) -> int | None:
        """Add the record and those similar to it, as far as their groups are free; returns who has its group."""
        for candidate in [record, *([] if self.similar is None else self.similar[record].tolist())]:
            group = int(self.groups[candidate])
            if len(taken) < self.batch and undealt[candidate] and group not in taken:
                taken[group] = candidate
        return taken.get(int(self.groups[record]))


def require_groups(groups: NDArray[np.int64]) -> int:
    """How many groups there are; raises :class:`DatasetError` for one alone."""
    distinct = len(np.unique(groups))
    if distinct < 2:
        raise DatasetError(
            "the train split has one group of records, and in-batch negatives need at least two; build the dataset "
            "again without `group`, if that is a category, or with more rows"
        )
    return distinct


def nearest(records: TrainingRecords, idf: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """(R, k) of each record the k records of other groups with the nearest TF-IDF vectors over all their texts.

    Their documents are hard negatives for each other, and being in one batch they cost nothing more. Where fewer than
    k others share a token, the record's own number fills the row.
    """
    matrix = tf_idf(records, idf).T.tocsr().astype(np.float32)  # (R, V)
    asking, columns = _telling(matrix) if len(records) > MANY else matrix, matrix.T.tocsr()
    neighbours = np.repeat(np.arange(len(records))[:, None], min(k, len(records) - 1), axis=1)
    for start in range(0, len(records), NEAREST_ROWS):
        scores = (asking[start : start + NEAREST_ROWS] @ columns).tocsr()
        for row in range(scores.shape[0]):
            part = slice(scores.indptr[row], scores.indptr[row + 1])
            other = records.groups[scores.indices[part]] != records.groups[start + row]
            names, values = scores.indices[part][other], scores.data[part][other]
            size = min(neighbours.shape[1], len(names))
            if size:
                best = np.argpartition(-values, size - 1)[:size]
                neighbours[start + row, :size] = names[best[np.lexsort((names[best], -values[best]))]]
    return neighbours


def _telling(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """The :data:`TELLING` largest values of each row; values equal to the last of them stay too."""
    reduced = matrix.copy()
    for row in range(matrix.shape[0]):
        values = reduced.data[reduced.indptr[row] : reduced.indptr[row + 1]]
        if len(values) > TELLING:
            values[values < np.partition(values, -TELLING)[-TELLING]] = 0.0
    reduced.eliminate_zeros()
    return reduced


def tf_idf(records: TrainingRecords, idf: NDArray[np.float32]) -> sparse.csr_matrix:
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
