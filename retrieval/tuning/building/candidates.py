"""Which builds of a ``sparse_vector`` field are tried: each parameter by itself, then the best values together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from osparse.contracts.deployment import stored_vectors
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.index.seismic_parameters import DEFAULTS, parameters_of
from osparse.deployer.segments.segments import read_segments
from osparse.formula.lexicon import MAX_WEIGHT
from osparse.formula.seismic_ceiling import DEFAULT_CEILINGS, up_to_tenth
from osparse.opensearch_templates import render
from osparse.retrieval.serving.settings import SeismicBuild

FEWEST_POSTINGS, SHARE_OF_DOCUMENTS = 160, 0.0005
"""The server's ``n_postings`` where a mapping names none: the share of a segment's documents, or the fewest."""
CLUSTER_RATIOS = (0.05, 0.2)
SUMMARY_RATIOS = (0.2, 0.6)
QUANTILE = 0.999
"""Of document weights: those above are cut by the lowest ceiling that is tried."""
SAMPLED = 1000
"""Documents whose weights say which ceilings are worth trying."""
NEARLY = 0.002
"""Recall that a smaller build may lose."""


@dataclass(frozen=True)
class PresentBuild:
    """What the present index is built with, and what bounds the candidates."""

    parameters: Mapping[str, float]
    """Every parameter by its name in :class:`SeismicBuild`."""
    documents: int
    """Of the smallest shard."""
    largest: float
    """Document weight, of a sample."""
    nearly_largest: float
    """Quantile :data:`QUANTILE` of the document weights."""

    @property
    def approximate(self) -> bool:
        """Whether its shards are searched approximately once each is one segment."""
        return self.documents >= self.parameters["threshold"]


@dataclass(frozen=True)
class BuildTrial:
    """A build that was made and measured."""

    build: SeismicBuild | None
    """None: the parameters of the present index."""
    ndcg: float
    """On the validation queries, the best of the searches that were tried."""
    recall: float
    """Recall@10 against exact search, of the present search parameters."""
    bytes: int
    seconds: float
    """That making and measuring took."""

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "build": None if self.build is None else self.build.given}

    def __str__(self) -> str:
        return (
            f"{self.build or 'as the present index'}: recall@10 {self.recall:.4f}, nDCG@10 {self.ndcg:.4f} on "
            f"validation, {self.bytes / 1e6:.2f} MB, {self.seconds:.0f} s"
        )


def read_present(api: ClusterApi, concrete: str, field: str, seed: int = 0) -> PresentBuild:
    """Read the parameters from the mapping, and the weights of a sample of the documents."""
    mappings = (api.get_mapping(concrete) or {}).get(concrete, {}).get("mappings", {})
    by_shard: dict[str, int] = {}
    for segment in read_segments(api, concrete):
        by_shard[segment.shard] = by_shard.get(segment.shard, 0) + segment.documents
    documents = min((count for count in by_shard.values() if count), default=0)
    postings = max(FEWEST_POSTINGS, int(SHARE_OF_DOCUMENTS * documents))
    given = parameters_of(mappings, field)
    body = {**render("documents_random", size=SAMPLED, seed=seed), "_source": [field]}
    hits = api.search(concrete, body, {"search_pipeline": "_none"}, whole=True)["hits"]["hits"]
    vectors = [vector for hit in hits for vector in stored_vectors(hit["_source"], field)]
    weights = np.array([float(weight) for vector in vectors for weight in vector.values()] or [0.0])
    ceilings = {f"ceiling_{part}": ceiling for part, ceiling in DEFAULT_CEILINGS.items()}
    return PresentBuild(
        {**DEFAULTS, **ceilings, "n_postings": postings, **given},
        documents,
        float(weights.max()),
        float(np.quantile(weights, QUANTILE)),
    )


def candidates(present: PresentBuild) -> list[SeismicBuild]:
    """Builds that differ from the present one in one parameter, in the order of trying.

    The first one says what approximate search is worth here at all: where the present index is searched approximately
    it is an exact one, otherwise an approximate one, as are then all others.
    """
    if present.approximate:
        exact = max(int(DEFAULTS["threshold"]), 10 * present.documents)
        return [SeismicBuild(threshold=exact), *(_with(SeismicBuild(), *one) for one in _values(present))]
    first = SeismicBuild(threshold=max(1, present.documents // 2))
    return [first, *(_with(first, *one) for one in _values(present))]


def _with(build: SeismicBuild, name: str, value: int | float) -> SeismicBuild:
    return replace(build, **{name: value})  # type: ignore[arg-type]  # _values gives each name a value of its type


def _values(present: PresentBuild) -> Iterator[tuple[str, int | float]]:
    """(parameter, value) without the present ones; those that say most come first."""
    now = present.parameters
    postings = int(now["n_postings"])
    listed: list[tuple[str, int | float]] = [("n_postings", 2 * postings), ("n_postings", max(1, postings // 2))]
    listed += [("summary_prune_ratio", SUMMARY_RATIOS[1]), ("cluster_ratio", CLUSTER_RATIOS[1])]
    listed += [("ceiling_ingest", value) for value in _ceilings(present)]
    listed += [("n_postings", 4 * postings), ("summary_prune_ratio", SUMMARY_RATIOS[0])]
    listed += [("cluster_ratio", CLUSTER_RATIOS[0]), ("ceiling_search", up_to_tenth(now["ceiling_search"] / 2))]
    yield from ((name, value) for name, value in listed if value != now[name])


def _ceilings(present: PresentBuild) -> list[float]:
    """One that cuts no weight where the present one does, and a lower one, whose steps are finer."""
    now, whole = present.parameters["ceiling_ingest"], up_to_tenth(present.largest)
    low = up_to_tenth(present.nearly_largest)
    return [*([min(whole, MAX_WEIGHT)] if whole > now else []), *([low] if low < min(now, whole) else [])]


def together(reference: BuildTrial, trials: Sequence[BuildTrial]) -> list[SeismicBuild]:
    """The values that raised recall together, and those that made the index smaller at nearly the same recall.

    Args:
        reference: The trial that the others differ from in one parameter; one of another threshold is left out.
    """
    threshold = reference.build.threshold if reference.build is not None else None
    single = [trial for trial in trials if trial.build is not None and trial.build.threshold == threshold]
    better = sorted((t for t in single if t.recall > reference.recall), key=lambda t: (-t.recall, t.bytes))
    nearly = (t for t in single if t.recall >= reference.recall - NEARLY and t.bytes < reference.bytes)
    smaller = sorted(nearly, key=lambda t: (t.bytes, -t.recall))
    tried = {trial.build for trial in (reference, *trials)}
    joined = dict.fromkeys((_joined(better), _joined(smaller)))
    return [build for build in joined if build.given and build not in tried]


def _joined(trials: Sequence[BuildTrial]) -> SeismicBuild:
    """Of each parameter the value of the first trial that has one."""
    values: dict[str, Any] = {}
    for trial in trials:
        for name, value in (trial.build.given if trial.build is not None else {}).items():
            values.setdefault(name, value)
    return SeismicBuild(**values)
