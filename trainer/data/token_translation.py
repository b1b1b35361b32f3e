"""Which token translates a token: IBM Model 1 (osparse.algorithms.ibm_model1) over the training records' aligned texts.

Each aligned text counts as a set of tokens. A record's queries are one aligned text and its documents another: titles
are short, so they say more of each of their tokens. Of translated segments, whose queries are in one language and whose
documents are in the other, query and document are aligned.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from osparse.algorithms.ibm_model1 import Ids, translation_probabilities
from osparse.trainer.data.training_records import TokenisedText, TrainingRecord, TrainingRecords

log = logging.getLogger("osparse.trainer.data.token_translation")
MIN_MASS = 0.05
"""A token whose t(e|f) over the aligned text sums to less has no translation in that text."""
SURE = 0.3
"""The same over its likely translations, where there is no aligned text."""
FLOOR = 0.05
"""Probability below which a translation is not a likely one."""
KEPT = 0.3
"""Share of a query's tokens without a sure translation that stay in its translation; names are often equal in both."""
FEWEST = 2
"""Tokens of a query that must be translated for it to be one in the other language."""
NEGLIGIBLE = 1e-3
"""Probability below which a translation is dropped from the table."""
MOST_PAIRS = 60_000_000
"""Pairs of tokens that EM holds, 4 to 6 GB for a moment; of more records an even share is taken."""


class Translations:
    """Draws translations of tokens by a table t(e|f)."""

    def __init__(self, table: sparse.csr_matrix) -> None:
        """``table`` (V, V) at [f, e]."""
        self.table, self.likely = table, above(table, FLOOR)

    def sample(self, tokens: Ids, within: Ids, generator: np.random.Generator) -> Ids:
        """(n,) tokens -> (n,) translations drawn by t(e|f), -1 where there is none.

        ``within``: distinct tokens of the aligned text, which translations are taken from; where it has none, any
        likely translation of a token that has a sure one.
        """
        draws = generator.random(len(tokens))
        rows = self.table[tokens] if len(within) else self.likely[tokens]
        targets = within if len(within) else np.unique(rows.indices)
        if not len(tokens) or not len(targets):
            return np.full(len(tokens), -1)
        mass = rows[:, targets].toarray().cumsum(1)  # (n, targets)
        chosen = (mass < draws[:, None] * mass[:, -1:]).sum(1).clip(max=len(targets) - 1)
        return np.where(mass[:, -1] >= (MIN_MASS if len(within) else SURE), targets[chosen], -1)

    def query(self, tokens: Ids, generator: np.random.Generator) -> Ids | None:
        """Distinct tokens of a query in the other language, drawn token by token; None where too few have any."""
        drawn = self.sample(tokens, np.zeros(0, np.int64), generator)
        translated = drawn >= 0
        if translated.sum() < FEWEST:
            return None
        used = translated | (generator.random(len(tokens)) < KEPT)
        return np.array(list(dict.fromkeys(np.where(translated, drawn, tokens)[used].tolist())), dtype=np.int64)


def pairwise(records: TrainingRecords, vocabulary: int, limit: int) -> dict[tuple[str, str], Translations]:
    """(source language, target language) -> translations, for every two languages of the records."""
    return {
        (a, b): Translations(estimate(records, a, b, vocabulary, limit))
        for a in records.languages
        for b in records.languages
        if a != b
    }


def above(table: sparse.csr_matrix, floor: float) -> sparse.csr_matrix:
    """The entries that are at least ``floor``."""
    entries = table.copy()
    entries.data[entries.data < floor] = 0
    entries.eliminate_zeros()
    return entries


def estimate(records: TrainingRecords, source: str, target: str, vocabulary: int, limit: int) -> sparse.csr_matrix:
    """(vocabulary, vocabulary) t(e|f) at [f, e] for tokens of two languages; ``limit``: tokens of a text that count.

    Estimated once for the same records.
    """
    key = (source, target, vocabulary, limit)
    if key not in records.tables:
        records.tables[key] = _estimate(records, source, target, vocabulary, limit)
    return records.tables[key]


def _estimate(records: TrainingRecords, source: str, target: str, vocabulary: int, limit: int) -> sparse.csr_matrix:
    units = [aligned(record, source, target, limit) for record in records.records]
    units = [unit for unit in units if unit]
    size = sum(len(a) * len(b) for unit in units for a, b in unit)
    if size > MOST_PAIRS:
        step = -(-size // MOST_PAIRS)
        log.warning("%d aligned records are too many for IBM Model 1; every %d. is used", len(units), step)
        units = units[::step]
    pairs = [pair for unit in units for pair in unit]
    probabilities = translation_probabilities([pair[0] for pair in pairs], [pair[1] for pair in pairs], vocabulary)
    return above(probabilities, NEGLIGIBLE)


def aligned(record: TrainingRecord, source: str, target: str, limit: int) -> list[tuple[Ids, Ids]]:
    """Distinct tokens in each language of the record's queries, and of its documents, where both have some.

    Where neither do, its queries may be in one language and its documents in the other, as in translated segments: then
    these are the aligned texts.
    """
    within = [_pair(texts, source, target, limit) for texts in (record.queries, record.documents)]
    pairs = within if any(within) else [_pair([*record.queries, *record.documents], source, target, limit)]
    return [pair for pair in pairs if pair is not None]


def _pair(texts: Sequence[TokenisedText], source: str, target: str, limit: int) -> tuple[Ids, Ids] | None:
    """Distinct tokens of the texts of each language; None where one has no text."""
    first, second = ([text.ids[:limit] for text in texts if text.lang == lang] for lang in (source, target))
    return (np.unique(np.concatenate(first)), np.unique(np.concatenate(second))) if first and second else None
