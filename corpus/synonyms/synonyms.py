"""``osparse corpus synonyms``: words that belong together, within a language by usage, across languages by alignment.

Writes a folder: ``synonyms.txt`` (for OpenSearch's synonym filter), ``pairs.jsonl`` (rows that ``osparse corpus build
--source jsonl`` reads), ``hints.json`` ({term: {other: confidence}}) and ``report.json`` with the measured precision.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from osparse.contracts.dataset import Dataset
from osparse.corpus.synonyms.bilingual_terms import Translation, aligned_titles, from_parentheses, from_titles
from osparse.corpus.synonyms.clusters import METHODS, cluster
from osparse.corpus.synonyms.word_vectors import Floats, Vocabulary, model_vectors, ppmi_vectors
from osparse.corpus.terms.recency import Recency
from osparse.corpus.text.analysis import word_spans, words
from osparse.errors import DatasetError, InputError
from osparse.io.files import atomic_directory, pretty_json

AT = (10, 25, 50, 100, 200, 400)
"""Ranks at which precision is reported."""
TOGETHER = 0.3
"""Words of which the rarer one has the other in this share of its documents are a phrase and no synonyms."""


@dataclass(frozen=True, kw_only=True)
class SynonymRules:
    """How synonyms are found. Raises :class:`InputError` for values out of range."""

    method: str = "mutual"
    """Of grouping; see osparse.corpus.synonyms.clusters."""
    similarity: float = 0.6
    """Smallest cosine within a group."""
    model: Path | None = None
    """A trained model whose states are the vectors; None: PPMI of neighbouring words."""
    at_least: int = 5
    """Documents that hold a word."""
    at_most: float = 0.1
    """Share of documents above which a word is too common to have synonyms."""
    confidence: float = 0.1
    """Smallest confidence of a translation."""
    recency: Recency | None = None
    """With it recent documents count more in PPMI."""

    def __post_init__(self) -> None:
        problems = []
        if self.method not in METHODS:
            problems.append(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        if not 0 < self.similarity < 1 or not 0 < self.at_most <= 1 or not 0 <= self.confidence <= 1:
            problems.append("similarity must be within (0, 1), at_most within (0, 1] and confidence within [0, 1]")
        if self.at_least < 2:
            problems.append(f"at_least must be at least 2, got {self.at_least}")
        if self.model is not None and self.recency is not None:
            problems.append("recency weighs PPMI counts; a model's states have none: give one of the two")
        if problems:
            raise InputError("synonyms: " + "; ".join(problems))

    def to_json(self) -> dict[str, Any]:
        recency = self.recency.to_json() if self.recency else None
        return {**asdict(self), "model": self.model.name if self.model else None, "recency": recency}


@dataclass(frozen=True)
class Group:
    """Words of one language that are used alike."""

    lang: str
    words: list[str]
    confidence: float
    """Mean cosine of the members to their centre."""


@dataclass(frozen=True)
class Precision:
    """Translations checked against aligned titles that were not used to find them."""

    at: dict[int, float]
    """k -> share of the k most confident judged pairs that some held-out pair of titles confirms."""
    judged: int
    """Pairs whose Korean term is in a held-out Korean title."""
    chance: float
    """The same share for English words drawn at random from the held-out titles, weighted by frequency."""


@dataclass(frozen=True)
class SynonymReport:
    groups: list[Group]
    translations: list[Translation]
    precision: Precision | None
    """None without held-out aligned titles."""


def find_synonyms(
    dataset: Dataset, output: Path | str, rules: SynonymRules | None = None, *, overwrite: bool = False
) -> SynonymReport:
    """Learn synonyms from a dataset's training split and write them, with their precision on the test split's titles.

    Of a dataset without a training split every document is read; aligned titles need one.

    Raises:
        DatasetError: nothing found.
        InputError: ``output`` exists and is no folder of synonyms, or ``overwrite`` is false; no document has a date
            that ``recency`` could count.
    """
    rules = rules or SynonymRules()
    documents = dataset.split_documents(dataset.learning_split).select("text", "lang", "date").sort("lang").collect()
    if rules.recency is not None and not rules.recency.weights(documents["date"].to_list()).any():
        raise InputError(
            f"{dataset.path}: no document has a date up to {rules.recency.as_of}; without one `half_life` "
            "leaves nothing to count; leave it out"
        )
    groups = [
        group
        for (lang,), rows in documents.group_by("lang", maintain_order=True)
        for group in _groups(str(lang), rows["text"].to_list(), rows["date"].to_list(), rules)
    ]
    titles = aligned_titles(dataset, "train") if "train" in dataset.splits else []
    translations = merged([*from_titles(titles), *from_parentheses(documents["text"])], rules.confidence)
    if not groups and not translations:
        raise DatasetError(f"{dataset.path}: no synonyms; lower `similarity` or `at_least`, or give more documents")
    held_out = aligned_titles(dataset, "test") if "test" in dataset.splits else []
    report = SynonymReport(groups, translations, precision(translations, held_out) if held_out else None)
    with atomic_directory(Path(output), marker="report.json", overwrite=overwrite) as folder:
        _write(folder, dataset, rules, report)
    return report


def merged(found: Sequence[Translation], at_least: float) -> list[Translation]:
    """The most confident of each pair of different terms, by falling confidence."""
    best: dict[tuple[str, str], Translation] = {}
    for pair in found:
        if (
            pair.ko != pair.en
            and pair.confidence >= at_least
            and pair.confidence > getattr(best.get((pair.ko, pair.en)), "confidence", 0.0)
        ):
            best[pair.ko, pair.en] = pair
    return sorted(best.values(), key=lambda pair: (-pair.confidence, pair.ko, pair.en))


def precision(translations: Sequence[Translation], held: Sequence[tuple[list[str], list[str]]]) -> Precision:
    """precision@k of translations, in their order, on aligned titles (Korean words, English words)."""
    confirmed: list[bool] = []
    chance: list[float] = []
    english = Counter(word for _, en in held for word in set(en))
    total = sum(english.values())
    titles = _Titles(held)
    for pair in translations:
        answers = titles.with_phrase(words(pair.ko))
        if answers:
            confirmed.append(any(_holds(answer, pair.en.split()) for answer in answers))
            chance.append(sum(english[word] for word in set().union(*answers)) / total)
    at = {k: float(np.mean(confirmed[:k])) for k in AT if k <= len(confirmed)}
    if confirmed:
        at[len(confirmed)] = float(np.mean(confirmed))
    return Precision(at, len(confirmed), float(np.mean(chance)) if chance else 0.0)


class _Titles:
    """Finds aligned titles by a run of Korean words."""

    def __init__(self, titles: Sequence[tuple[list[str], list[str]]]) -> None:
        self._titles = titles
        self._holders: dict[str, set[int]] = {}
        for number, (korean, _) in enumerate(titles):
            for word in korean:
                self._holders.setdefault(word, set()).add(number)

    def with_phrase(self, phrase: list[str]) -> list[list[str]]:
        """The English words of every title whose Korean words hold the phrase's one after another."""
        holders = [self._holders.get(word, set()) for word in phrase]
        numbers = sorted(set.intersection(*holders)) if holders else []
        return [english for korean, english in map(self._titles.__getitem__, numbers) if _holds(korean, phrase)]


def _holds(words: list[str], phrase: list[str]) -> bool:
    return any(words[i : i + len(phrase)] == phrase for i in range(len(words) - len(phrase) + 1))


def _groups(
    lang: str, texts: list[str], dates: list[datetime.date | None], rules: SynonymRules
) -> list[Group]:  # fmt: skip
    tokens = [words(text) for text in texts]
    vocabulary = Vocabulary.of(tokens, at_least=rules.at_least, at_most=rules.at_most)
    if len(vocabulary.words) < 2:
        return []
    vectors: Floats
    if rules.model is not None:
        vectors = model_vectors(texts, vocabulary, rules.model, word_spans)
    else:
        weights = rules.recency.weights(dates) if rules.recency else np.ones(len(texts))
        vectors = ppmi_vectors(tokens, vocabulary, weights)
    found = []
    held = _documents(tokens, vocabulary)
    for clustered in cluster(rules.method, vectors, rules.similarity):
        members = _apart(clustered, held)
        if len(members) < 2:
            continue
        centre = vectors[members].mean(0)
        confidence = float((vectors[members] @ centre).mean() / np.linalg.norm(centre))
        found.append(Group(lang, [vocabulary.words[i] for i in members], round(confidence, 4)))
    return sorted(found, key=lambda group: (-group.confidence, group.words))


def _documents(tokens: Sequence[Sequence[str]], vocabulary: Vocabulary) -> dict[int, set[int]]:
    """Word number -> the documents that hold it."""
    number = {word: i for i, word in enumerate(vocabulary.words)}
    held: dict[int, set[int]] = {i: set() for i in range(len(number))}
    for document, text in enumerate(tokens):
        for word in set(text) & number.keys():
            held[number[word]].add(document)
    return held


def _apart(members: Sequence[int], held: dict[int, set[int]]) -> list[int]:
    """Members that do not come as a phrase with one before them, the most frequent first."""
    kept: list[int] = []
    for word in sorted(members, key=lambda i: (-len(held[i]), i)):
        phrase = (len(held[word] & held[other]) >= TOGETHER * min(len(held[word]), len(held[other])) for other in kept)
        if not any(phrase):
            kept.append(word)
    return sorted(kept)


def _write(folder: Path, dataset: Dataset, rules: SynonymRules, report: SynonymReport) -> None:
    lines = [", ".join(group.words) for group in report.groups]
    lines += [f"{pair.ko}, {pair.en}" for pair in report.translations]
    (folder / "synonyms.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    hints: dict[str, dict[str, float]] = {}
    for a, b, confidence in _pairs(report):
        hints.setdefault(a, {})[b] = round(confidence, 4)
        hints.setdefault(b, {})[a] = round(confidence, 4)
    (folder / "hints.json").write_text(pretty_json(hints), encoding="utf-8")
    rows = (json.dumps({"query": a, "pos": sorted(others)}, ensure_ascii=False) for a, others in sorted(hints.items()))
    (folder / "pairs.jsonl").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    about = {"dataset": dataset.fingerprint, "rules": rules.to_json(), **asdict(report)}
    (folder / "report.json").write_text(pretty_json(about), encoding="utf-8")


def _pairs(report: SynonymReport) -> list[tuple[str, str, float]]:
    within = [
        (a, b, group.confidence)
        for group in report.groups
        for i, a in enumerate(group.words)
        for b in group.words[i + 1 :]
    ]
    return [*within, *((pair.ko, pair.en, pair.confidence) for pair in report.translations)]
