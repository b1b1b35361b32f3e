"""Which records make the batch of a step: a pure function of seed, stage and step, so resuming needs no position."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from osparse.errors import DatasetError


class BatchSampler:
    """Batches without two records of one group: no query meets its own document, or a sibling, as a negative."""

    def __init__(self, groups: NDArray[np.int64], batch: int, seed: tuple[int, ...]) -> None:
        """``groups``: (R,) group number of each record. ``seed``: any integers."""
        distinct = len(np.unique(groups))
        if distinct < 2:
            raise DatasetError("the train split has one group of records; in-batch negatives need at least two")
        self.groups, self.seed = groups, seed
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
        waiting = generator.permutation(len(self.groups)).tolist()
        while True:
            taken: dict[int, int] = {}
            left = []
            for position, record in enumerate(waiting):
                if len(taken) == self.batch:
                    left += waiting[position:]
                    break
                if int(self.groups[record]) in taken:
                    left.append(record)
                else:
                    taken[int(self.groups[record])] = record
            if len(taken) < self.batch:
                return
            yield np.array(list(taken.values()), dtype=np.int64)
            waiting = left
