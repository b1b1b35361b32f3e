"""The settings of a search: what can be tuned on the query side and on the document side, and how they are recorded.

A setting is data: ``Setting()`` is the plain dot product, as osparse deploys it. ``_meta.osparse_tuning`` of an index
holds the setting that its searches use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from osparse.errors import ClusterError, InputError
from osparse.io.settings import checked, setting, to_plain

TUNING_META_KEY = "osparse_tuning"
SCHEMA_VERSION = 1

Normalisation = Literal["min_max", "l2", "z_score", "rrf"]
"""How scores of BM25 and of sparse search are made comparable; ``rrf`` takes ranks instead."""
Combination = Literal["arithmetic_mean", "geometric_mean", "harmonic_mean"]
PruneKind = Literal["max_ratio", "top_k", "alpha_mass"]
"""As neural-search names them."""


@dataclass(frozen=True)
class QueryWeights:
    """What is done to the IDF weights of a query's tokens before they are sent."""

    power: float = setting(1.0, low=0, above=True, high=4)
    """w becomes max(w) * (w / max(w)) ** power."""
    drop_ratio: float = setting(0.0, low=0, high=0.99)
    """Tokens below this share of the heaviest one are dropped."""
    top: int | None = setting(None, low=1)
    """At most so many tokens, the heaviest; None keeps all."""

    def __str__(self) -> str:
        parts = [f"power {self.power:g}"] if self.power != 1 else []
        parts += [f"drop below {self.drop_ratio:g}"] if self.drop_ratio else []
        return " ".join([*parts, *([f"top {self.top} tokens"] if self.top is not None else [])])


@dataclass(frozen=True)
class TwoPhase:
    """Heavy tokens find the documents; the light ones only score the best of these again."""

    prune_ratio: float = setting(0.4, low=0, above=True, high=0.99)
    """Tokens of at least this share of the heaviest one are heavy."""
    expansion_rate: float = setting(5.0, low=1)
    """Documents that are scored again, as a multiple of the hits asked for."""
    max_window_size: int = setting(10_000, low=50)
    """At most so many documents are scored again."""

    def __str__(self) -> str:
        return f"two-phase {self.prune_ratio:g}/{self.expansion_rate:g}"


@dataclass(frozen=True)
class Feedback:
    """Weights of the first hits join the query; no model is called."""

    documents: int = setting(3, low=1, high=100)
    """The first so many hits."""
    tokens: int = setting(16, low=1)
    """At most so many tokens join, the heaviest."""
    share: float = setting(0.2, low=0, above=True, high=4)
    """Sum of the weights that join, as a share of the sum of the query's own."""
    rerank: int = setting(0, low=0, high=10_000)
    """Only the first so many hits are ordered anew; 0 searches the whole index again."""

    @classmethod
    def parse(cls, text: str) -> Feedback:
        """``documents=3,tokens=16,share=0.2,rerank=100``, each of them optional; "" takes the defaults.

        Raises:
            InputError: a name or value that is none of these.
        """
        given = [part.partition("=") for part in text.split(",") if part.strip()]
        raw = {name.strip(): _number(value) for name, _, value in given}
        made, problems = checked(cls, raw)
        if made is None or len(raw) < len(given):
            problems = problems or ["a name is given twice"]
            raise InputError(f"`feedback` must be like documents=3,tokens=16,share=0.2: {'; '.join(problems)}")
        return made

    def __str__(self) -> str:
        how = f"rerank {self.rerank}" if self.rerank else "second pass"
        return f"feedback {self.documents} documents x {self.tokens} tokens x {self.share:g}, {how}"


@dataclass(frozen=True)
class Hybrid:
    """BM25 beside the sparse search, fused."""

    normalisation: Normalisation = "min_max"
    combination: Combination = "arithmetic_mean"
    """Not used by ``rrf``."""
    weight: float = setting(0.7, low=0, high=1)
    """Of the sparse search; BM25 has the rest."""
    rank_constant: int = setting(60, low=1, high=10_000)
    """Of ``rrf``."""
    by_direction: dict[str, float] = field(default_factory=dict, hash=False)
    """``query language->document language`` (``*``: documents of any) -> weight of the sparse search there."""

    def weight_for(self, direction: str) -> float:
        return self.by_direction.get(direction, self.weight)

    def problems(self) -> list[str]:
        wrong = [
            f"by_direction {name}: {w} is not within [0, 1]" for name, w in self.by_direction.items() if not 0 <= w <= 1
        ]
        return wrong

    def __str__(self) -> str:
        how = f"rrf {self.rank_constant}" if self.normalisation == "rrf" else f"{self.normalisation} {self.combination}"
        each = "".join(f" {direction} {w:g}" for direction, w in sorted(self.by_direction.items()))
        return f"hybrid {how} {self.weight:g}{each}"


@dataclass(frozen=True)
class Seismic:
    """Parameters of a query on a ``sparse_vector`` field."""

    top_n: int = setting(10, low=1)
    """Query tokens that are followed, the heaviest."""
    heap_factor: float = setting(1.0, low=0, above=True)
    """Above 1: more clusters are looked into."""
    k: int | None = setting(None, low=1)
    """Documents per segment; None takes the hits asked for."""

    def __str__(self) -> str:
        return f"seismic top_n {self.top_n} heap_factor {self.heap_factor:g}" + (f" k {self.k}" if self.k else "")


@dataclass(frozen=True)
class Pruning:
    """Which weights of a document are kept."""

    kind: PruneKind
    value: float

    def problems(self) -> list[str]:
        """What cannot be, in words."""
        if self.kind == "top_k":
            right = self.value >= 1 and float(self.value).is_integer()
            return [] if right else [f"top_k must be a whole number of at least 1, got {self.value:g}"]
        return [] if 0 < self.value < 1 else [f"{self.kind} must be in (0, 1), got {self.value:g}"]

    def __str__(self) -> str:
        return f"prune {self.kind} {self.value:g}"


@dataclass(frozen=True)
class SeismicBuild:
    """Parameters of a ``sparse_vector`` field that are fixed when its index is made; None leaves the present one."""

    n_postings: int | None = setting(None, low=1)
    """Documents of a token's posting list that are kept, those of the largest weights."""
    cluster_ratio: float | None = setting(None, low=0, above=True, high=0.99)
    """Clusters of a posting list, as a share of its documents."""
    summary_prune_ratio: float | None = setting(None, low=0, above=True, high=1)
    """Share of a cluster's summed weight that its summary keeps."""
    ceiling_ingest: float | None = setting(None, low=0, above=True)
    """Document weights above it are cut; 8 bits tell those below apart."""
    ceiling_search: float | None = setting(None, low=0, above=True)
    """The same of query weights."""
    threshold: int | None = setting(None, low=1)
    """Documents of a segment from which on it is searched approximately."""

    @property
    def given(self) -> dict[str, int | float]:
        """Name -> value of those that are not None."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        shown = (
            f"{name} {value:,}" if isinstance(value, int) else f"{name} {value:g}" for name, value in self.given.items()
        )
        return "built " + " ".join(shown)


Storage = Pruning | SeismicBuild | None
"""What an index is made with to be searched under a setting; None is the present index as it is."""


@dataclass(frozen=True)
class Setting:
    """Everything about a search that can be tuned."""

    query: QueryWeights = field(default_factory=QueryWeights)
    two_phase: TwoPhase | None = None
    feedback: Feedback | None = None
    hybrid: Hybrid | None = None
    seismic: Seismic | None = None
    pruning: Pruning | None = None
    """Of the index that is asked; a query does nothing for it."""
    build: SeismicBuild | None = None
    """As ``pruning``, of a ``sparse_vector`` field, which is not pruned."""

    @property
    def storage(self) -> Storage:
        """What the index is made with."""
        return self.pruning if self.build is None else self.build

    def stored_as(self, other: Setting) -> Setting:
        """The same search of the index that ``other`` asks."""
        return replace(self, pruning=other.pruning, build=other.build)

    def problems(self) -> list[str]:
        """Parts that exclude each other, in words."""
        if self.pruning is not None and self.build is not None:
            return ["pruning and build exclude each other: a sparse_vector field is not pruned"]
        if self.two_phase is not None and (self.feedback is not None or self.hybrid is not None):
            return ["two_phase has no effect beside feedback or hybrid; leave one out"]
        return []

    @property
    def is_plain_query(self) -> bool:
        """Whether a query is sent with the deployed weights, in one request."""
        return self == Setting().stored_as(self)

    @property
    def requests(self) -> int:
        """Round trips of one search."""
        return 1 + (self.feedback is not None)

    def with_feedback(self, choice: Feedback) -> Setting:
        """The same with feedback; raises :class:`InputError` where it cannot have any."""
        changed = replace(self, feedback=choice)
        if problems := changed.problems():
            raise InputError(f"`feedback` cannot join the recorded search setting ({self}): {'; '.join(problems)}")
        return changed

    def to_json(self) -> dict[str, Any]:
        plain = {name: value for name, value in to_plain(self).items() if value is not None}
        return plain if self.query != QueryWeights() else {k: v for k, v in plain.items() if k != "query"}

    @classmethod
    def from_json(cls, raw: object, source: str) -> Setting:
        """Raises :class:`InputError` naming every part that is not a setting."""
        made, problems = checked(cls, raw)
        if made is None:
            raise InputError(f"{source} is not a search setting: {'; '.join(problems)}")
        return made

    def __str__(self) -> str:
        return ", ".join(self._parts()) or "plain"

    def _parts(self) -> Iterator[str]:
        if self.query != QueryWeights():
            yield str(self.query)
        for part in (self.two_phase, self.feedback, self.hybrid, self.seismic, self.pruning, self.build):
            if part is not None:
                yield str(part)


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def recorded_setting(meta: Mapping[str, Any], index: str) -> Setting:
    """The setting that the ``_meta`` of an index records; the plain one where it records none.

    Raises:
        ClusterError: the record is damaged or of another version.
    """
    raw = meta.get(TUNING_META_KEY)
    if raw is None:
        return Setting()
    if not isinstance(raw, Mapping) or raw.get("schema") != SCHEMA_VERSION:
        raise ClusterError(
            f"index {index}: its _meta.{TUNING_META_KEY} is not readable by this version; run osparse tune again"
        )
    try:
        return Setting.from_json(raw.get("setting"), f"_meta.{TUNING_META_KEY} of index {index}")
    except InputError as problem:
        raise ClusterError(f"{problem}; run osparse tune again") from None
