"""The k best documents of many queries, their scores arriving a block of documents at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from osparse.errors import InputError

_DENSE = 0.05
"""Share of a block that beats its query's k-th score so far: above it the whole block is merged at once."""


class TopK:
    """Keeps the top k of each query over blocks of scores: by falling score, equal scores by rising document number.

    Number the documents by ascending id (osparse.evaluation.exact_search does), and ties fall by document id,
    exactly as a full sort would have them. A score and its document are packed into one 64-bit key, so that a partition
    of the keys is exact with ties.
    """

    def __init__(self, queries: int, k: int) -> None:
        if k < 1:
            raise InputError(f"k must be at least 1, found {k}")
        self.k = k
        self._keys = np.zeros((queries, k), np.uint64)  # 0: no document yet; below every packed score

    def add(self, scores: NDArray[np.float32], first: int = 0, numbers: NDArray[np.uint32] | None = None) -> None:
        """Merge a block.

        Args:
            scores: (Q, B) of B documents; -inf for those that may not be found.
            first: the documents are numbered ``first`` to ``first + B - 1``,
            numbers: unless (B,) numbers below 2^32 - 1 are given.

        Raises:
            InputError: a score is no number; another count of queries.
        """
        if scores.ndim != 2 or len(scores) != len(self._keys):
            raise InputError(f"scores must have the shape ({len(self._keys)}, documents), found {scores.shape}")
        scores = np.ascontiguousarray(scores, np.float32)
        if numbers is None:
            numbers = np.arange(first, first + scores.shape[1], dtype=np.uint32)
        # a document that cannot beat its query's k-th best need not be packed: one comparison per score
        worst = _scores(self._keys.min(axis=1))
        rows, columns = np.nonzero(~(scores < worst[:, None]))  # not >=, so that NaN stays in and is seen
        if np.isnan(scores[rows, columns]).any():
            raise InputError("a score is not a number (NaN)")
        if len(rows) > _DENSE * scores.size or not len(rows):
            block = _pack(scores, numbers[None, :]) if len(rows) else self._keys[:, :0]
        else:
            block = self._ragged(rows, _pack(scores[rows, columns], numbers[columns]))
        self._keep(block)

    @classmethod
    def stacked(cls, parts: Sequence[TopK]) -> TopK:
        """The queries of several, one after another; all of one ``k``, and at least one."""
        whole = cls(0, parts[0].k)
        whole._keys = np.concatenate([part._keys for part in parts])
        return whole

    def merge(self, other: TopK) -> None:
        """Take in what another found among other documents of the same numbering, for the same queries."""
        if len(other._keys) != len(self._keys):
            raise InputError(f"both must have the same queries, found {len(self._keys)} and {len(other._keys)}")
        self._keep(other._keys)

    def _keep(self, keys: NDArray[np.uint64]) -> None:
        """The k largest of each row's keys and these."""
        whole = np.concatenate([self._keys, keys], axis=1)
        if whole.shape[1] > self.k:
            whole = np.partition(whole, whole.shape[1] - self.k, axis=1)[:, -self.k :]
        self._keys = whole

    def _ragged(self, rows: NDArray[np.int64], keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """(Q, W) keys of each row from the left, zeros after them; ``rows`` ascend."""
        counts = np.bincount(rows, minlength=len(self._keys))
        places = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        block = np.zeros((len(self._keys), int(counts.max())), np.uint64)
        block[rows, places] = keys
        return block

    def result(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(Q, k) scores and (Q, k) document numbers, best first; -inf and -1 where there were fewer documents."""
        keys = np.sort(self._keys, axis=1)[:, ::-1]
        numbers = (np.uint64(0xFFFFFFFF) - (keys & np.uint64(0xFFFFFFFF))).astype(np.int64)
        scores = _scores(keys)
        found = np.isfinite(scores)
        return np.where(found, scores, -np.inf).astype(np.float32), np.where(found, numbers, -1)


def _pack(scores: NDArray[np.float32], numbers: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Keys that order as (score rising, number falling): monotone IEEE bits above, the number turned round below."""
    bits = (scores + np.float32(0)).view(np.uint32)  # + 0 makes -0 into 0, which it equals
    ordered = bits ^ np.where(bits >> 31, np.uint32(0xFFFFFFFF), np.uint32(0x80000000)).astype(np.uint32)
    turned = np.uint32(0xFFFFFFFF) - numbers
    keys: NDArray[np.uint64] = (ordered.astype(np.uint64) << np.uint64(32)) | turned.astype(np.uint64)
    return keys


def _scores(keys: NDArray[np.uint64]) -> NDArray[np.float32]:
    """The scores packed into keys; the empty key gives -inf."""
    ordered = (keys >> np.uint64(32)).astype(np.uint32)
    bits = ordered ^ np.where(ordered >> 31, np.uint32(0x80000000), np.uint32(0xFFFFFFFF)).astype(np.uint32)
    return np.where(keys == 0, np.float32(-np.inf), bits.view(np.float32)).astype(np.float32)
