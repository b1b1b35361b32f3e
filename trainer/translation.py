"""Which token of an aligned text translates a token: IBM Model 1, kept as a table for each training record.

Brown et al. 1993, "The mathematics of statistical machine translation", Model 1, over sets of tokens: t(e|f) is
re-estimated from each record's expected alignments. Looked up within a record, it says which token *of that record's
other text* a token stands for, which disambiguates it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
ITERATIONS = 5
"""Of EM; the usual choice for Model 1."""
MIN_MASS = 0.05
"""A token whose t(e|f) over the aligned text sums to less has no translation there."""


class Translations:
    """t(e|f) restricted to each record's (source token, target token) pairs."""

    def __init__(self, sources: Sequence[Ids], targets: Sequence[Ids], vocabulary: int) -> None:
        """One source and one target per record, token ids in any order; an empty one gives no translations."""
        self.sources = [np.unique(s) for s in sources]
        self.targets = [np.unique(t) for t in targets]
        sizes = [len(s) * len(t) for s, t in zip(self.sources, self.targets, strict=True)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._table = self._estimate(vocabulary)

    def block(self, record: int) -> NDArray[np.float32]:
        """(source tokens, target tokens) t(e|f) of one record."""
        flat = self._table[self._starts[record] : self._starts[record + 1]]
        return flat.reshape(len(self.sources[record]), len(self.targets[record]))

    def sample(self, record: int, tokens: Ids, generator: np.random.Generator) -> Ids:
        """(n,) source tokens of a record -> (n,) target tokens drawn by t(e|f), -1 where there is none."""
        draws = generator.random(len(tokens))
        sources, targets = self.sources[record], self.targets[record]
        if not len(sources) or not len(targets):
            return np.full(len(tokens), -1)
        at = np.searchsorted(sources, tokens).clip(max=len(sources) - 1)
        mass = self.block(record)[at].cumsum(1)  # (n, targets)
        chosen = (mass < draws[:, None] * mass[:, -1:]).sum(1).clip(max=len(targets) - 1)
        known = (sources[at] == tokens) & (mass[:, -1] >= MIN_MASS)
        return np.where(known, targets[chosen], -1)

    def _estimate(self, vocabulary: int) -> NDArray[np.float32]:
        pairs = list(zip(self.sources, self.targets, strict=True))
        if not self._starts[-1]:
            return np.zeros(0, np.float32)
        keys = np.concatenate([(s[:, None] * vocabulary + t).ravel() for s, t in pairs])
        unique, which = np.unique(keys, return_inverse=True)  # which: pair -> its entry of the shared table
        del keys
        which = which.astype(np.int32)
        first = np.concatenate([[0], np.cumsum([len(t) for t in self.targets])])
        columns = [np.tile(np.arange(first[i], first[i + 1], dtype=np.int32), len(s)) for i, (s, _) in enumerate(pairs)]
        column = np.concatenate(columns)  # pair -> its target token in its record
        del columns
        source = unique // vocabulary
        t = 1.0 / np.bincount(source, minlength=vocabulary)[source]
        for _ in range(ITERATIONS):
            expected = t[which]
            expected /= np.bincount(column, expected)[column]
            counts = np.bincount(which, expected, minlength=len(unique))
            t = counts / np.bincount(source, counts, minlength=vocabulary)[source]
        shared: NDArray[np.float32] = t.astype(np.float32)
        return shared[which]
