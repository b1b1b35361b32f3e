"""The filters of pairs, in order, and the figures before and after each."""

from __future__ import annotations

import datetime
import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from osparse.algorithms.language import (
    ASCII_SHARE,
    HANGUL_SHARE,
    UNDETERMINED,
    ascii_share,
    guess_language,
    hangul_share,
)
from osparse.io.progress import track
from osparse.plugins.extras import require

SHINGLE = 5
"""Characters; of Korean about two words, of English one."""
PERMUTATIONS = 128
OPENING = 60
"""Characters by which boilerplate is known."""


@dataclass(frozen=True, slots=True)
class Pair:
    kind: str
    query: str
    query_lang: str
    text: str
    text_lang: str
    group: str
    source: str
    date: datetime.date | None
    split: str | None
    """Where the source published its splits."""


@dataclass(frozen=True)
class PairFilters:
    query_characters: tuple[int, int] = (2, 200)
    """Fewest and most."""
    text_characters: tuple[int, int] = (30, 5000)
    language_share: bool = True
    """Keep only texts that are in the language they are labelled with: 30 % Hangul, or 90 % ASCII letters."""
    boilerplate: int = 20
    """Texts of so many groups that open with the same 60 characters are templates; 0 keeps them."""
    near_duplicates: float = 0.9
    """Estimated Jaccard similarity of 5-character shingles from which on a text is a copy; 0 keeps copies."""

    def problems(self) -> list[str]:
        problems = []
        for name in ("query_characters", "text_characters"):
            low, high = getattr(self, name)
            problems += (
                [f"{name}: the fewest must not exceed the most, got {low} and {high}"] if not 0 <= low <= high else []
            )
        if not 0 <= self.near_duplicates <= 1:
            problems.append(f"near_duplicates {self.near_duplicates} outside [0, 1]")
        return [*problems, f"boilerplate {self.boilerplate} below 0"] if self.boilerplate < 0 else problems


@dataclass
class Stages:
    """Name of a filter -> what came through it."""

    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    masking: dict[str, Any] = field(default_factory=dict)

    def counted(self, name: str, pairs: Iterator[Pair]) -> Iterator[Pair]:
        kinds: Counter[str] = Counter()
        rows = query = text = 0
        for pair in pairs:
            rows, query, text = rows + 1, query + len(pair.query), text + len(pair.text)
            kinds[f"{pair.kind} {pair.query_lang}->{pair.text_lang}"] += 1
            yield pair
        means = {"mean_query_characters": query, "mean_text_characters": text}
        rounded = {key: round(total / rows, 1) if rows else 0 for key, total in means.items()}
        self.figures[name] = {"pairs": rows, **rounded, "kinds": dict(sorted(kinds.items()))}

    def to_json(self) -> dict[str, Any]:
        """By the order of the filters, then the masking."""
        order = sorted(self.figures, key=lambda name: ORDER.index(name))
        return {**{name: self.figures[name] for name in order}, "masking": self.masking}

    @property
    def first(self) -> int:
        return int(self.figures["made"]["pairs"])

    @property
    def last(self) -> int:
        return int(self.figures["kept"]["pairs"])

    def dropped(self) -> dict[str, int]:
        """Filter -> pairs it took."""
        counts = [(name, self.figures[name]["pairs"]) for name in ORDER if name in self.figures]
        pairs = zip(counts, counts[1:], strict=False)
        return {name: before - after for (_, before), (name, after) in pairs if before > after}


ORDER = ("made", "length", "language", "boilerplate", "near duplicates", "limit", "kept")


def filtered(make: Callable[[], Iterator[Pair]], filters: PairFilters, stages: Stages) -> Iterator[Pair]:
    """The pairs that come through all filters; ``make`` is called twice where boilerplate is looked for."""
    common = _openings(make(), filters.boilerplate) if filters.boilerplate else set()
    pairs = stages.counted("made", make())
    pairs = stages.counted("length", (pair for pair in pairs if _lengths_fit(pair, filters)))
    if filters.language_share:
        fit = (p for p in pairs if _in(p.query_lang, p.query, 0.0) and _in(p.text_lang, p.text, HANGUL_SHARE))
        pairs = stages.counted("language", fit)
    if filters.boilerplate:
        pairs = stages.counted("boilerplate", (pair for pair in pairs if _hash(pair.text[:OPENING]) not in common))
    if filters.near_duplicates:
        pairs = stages.counted("near duplicates", _different(pairs, filters.near_duplicates))
    return pairs


def _lengths_fit(pair: Pair, filters: PairFilters) -> bool:
    (least, most), (fewest, longest) = filters.query_characters, filters.text_characters
    return least <= len(pair.query) <= most and fewest <= len(pair.text) <= longest


def _in(lang: str, text: str, hangul: float) -> bool:
    """Whether a text is in the language it is said to be in; only Korean and English are looked at.

    A Korean query may be a Latin name: ``hangul`` is 0 for queries. A text without letters may be in any language.
    """
    if lang == "ko":
        return hangul_share(text) >= hangul or guess_language(text) in (lang, UNDETERMINED)
    if lang == "en":
        return ascii_share(text, without_letters=1.0) >= ASCII_SHARE
    return True


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def _openings(pairs: Iterator[Pair], groups: int) -> set[bytes]:
    """Hashes of the openings that texts of at least ``groups`` groups share; shorter texts are no templates."""
    seen: dict[bytes, set[bytes]] = {}
    for pair in pairs:
        if len(pair.text) > OPENING:
            groups_seen = seen.setdefault(_hash(pair.text[:OPENING]), set())
            if len(groups_seen) < groups:
                groups_seen.add(_hash(pair.group))
    return {opening for opening, groups_seen in seen.items() if len(groups_seen) >= groups}


def _different(pairs: Iterator[Pair], threshold: float) -> Iterator[Pair]:
    """The first of near-duplicate texts, with all its pairs: an equal text is not a near-duplicate."""
    datasketch = require("datasketch", "corpus")
    index = datasketch.MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS)
    known: dict[bytes, bool] = {}
    for pair in track(pairs, "looking for near-duplicates", unit="pairs"):
        name = _hash(pair.text)
        if name not in known:
            sketch = datasketch.MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=zlib.crc32)
            text = " ".join(pair.text.split()).lower()
            shingles = {text[i : i + SHINGLE].encode() for i in range(max(1, len(text) - SHINGLE + 1))}
            sketch.update_batch(shingles)
            known[name] = not index.query(sketch)
            if known[name]:
                index.insert(name, sketch)
        if known[name]:
            yield pair
