"""The index that is tuned: what it serves, what can be tuned on it, and how a setting is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.cluster.facts import Facts, look
from osparse.errors import InputError
from osparse.evaluation.measures import Benchmark, open_benchmark
from osparse.opensearch_templates.queries import SEISMIC_FILTERED
from osparse.retrieval.searcher import Searcher
from osparse.retrieval.serving.settings import Setting
from osparse.retrieval.tuning.offline.simulate import Simulator
from osparse.retrieval.tuning.offline.stored import read_stored
from osparse.retrieval.tuning.questions import Question, questions
from osparse.retrieval.tuning.rankers import LiveRanker, SimulatedRanker
from osparse.retrieval.tuning.space import Abilities

COST_QUERIES = 200
"""Queries whose posting lists stand for all."""
HYBRID_COST = 1.5
"""Times the cost of a sparse search: BM25 reads posting lists too."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The index that is tuned, and how settings are measured on it."""

    api: ClusterApi
    alias: str
    concrete: str
    searcher: Searcher
    base: Setting
    """The present setting; the weights that the index lost before are not part of it."""
    abilities: Abilities
    ranker: SimulatedRanker | LiveRanker
    validation: list[Question]
    test: list[Question]
    dataset: dict[str, Any]
    notes: list[str]
    documents: int

    def cost(self, setting: Setting) -> tuple[float, int]:
        """(postings read by one search, postings of the index)."""
        factor = HYBRID_COST if setting.hybrid is not None else 1.0
        if isinstance(self.ranker, LiveRanker):
            choice, passes = setting.seismic, setting.requests
            return factor * passes * (choice.top_n * choice.heap_factor if choice is not None else 10.0), 0
        simulator = self.ranker.simulator
        texts = [question.text for question in self.validation[:COST_QUERIES]]
        return factor * simulator.cost(texts, setting), simulator.index(setting.pruning).stored.postings

    def live(self, index: str) -> LiveRanker:
        return LiveRanker(self.api.cluster, index, self.searcher)


def read_subject(cluster: Cluster, index: str, dataset: Path, seed: int) -> Subject:
    data = {split: open_benchmark(dataset, split) for split in ("validation", "test")}
    searcher, api = Searcher(cluster, index), ClusterApi(cluster)
    if searcher.has_several_fields:
        raise InputError(f"osparse tune is for an index of one sparse field, and {index} has several")
    documents = api.count(index)
    if documents == 0:
        raise InputError(f"index {index} holds no documents; load them first: osparse index --index {index} DOCUMENTS")
    (concrete,) = api.get_mapping(index) or {index: {}}
    deployment, facts = searcher.deployment, look(api)
    simulated = deployment.vector != "sparse_vector" and not deployment.chunks
    abilities = Abilities(
        simulated, True, deployment.vector == "sparse_vector", simulated and deployment.vector == "rank_features"
    )
    filtered = not abilities.seismic
    asked = {split: questions(benchmark, seed, filtered=filtered) for split, benchmark in data.items()}
    ranker: SimulatedRanker | LiveRanker = LiveRanker(cluster, index, searcher)
    if simulated:
        stored = read_stored(api, concrete, deployment, searcher.encoder.lexicon)
        ranker = SimulatedRanker(Simulator(stored, searcher.encoder), searcher)
    return Subject(
        api, index, concrete, searcher, searcher.setting.stored_as(Setting()), abilities, ranker,
        asked["validation"], asked["test"], _described(data), _notes(abilities, facts, documents, data["test"]),
        documents,
    )  # fmt: skip


def _described(data: Mapping[str, Benchmark]) -> dict[str, Any]:
    test = data["test"]
    queries = {split: sum(len(judged.queries) for judged in part.sets) for split, part in data.items()}
    return {"name": test.name, "fingerprint": test.fingerprint, "queries": queries}


def _notes(abilities: Abilities, facts: Facts, documents: int, data: Benchmark) -> list[str]:
    """One line for everything that cannot be tuned here."""
    notes, expected = [], sum(data.languages.values())
    if documents != expected:
        notes.append(f"the index holds {documents:,} documents, the dataset {expected:,}")
    if not facts.neural_search:
        notes.append("hybrid: this cluster has no neural-search plugin, so osparse fuses the results itself")
        notes.append("two-phase: without the plugin osparse sends the second phase as a rescore of each query")
    if abilities.seismic:
        notes.append(
            "SEISMIC: queries are asked among the documents of all languages, since a filter that lets at most "
            f"{SEISMIC_FILTERED:,} documents through makes the search exact"
        )
        notes.append("pruning and two-phase: not tuned, a sparse_vector field scores approximately")
    elif not abilities.simulated:
        notes.append("pruning: not tuned, this index keeps documents in pieces, whose scores are not simulated")
    elif not abilities.prunable:
        notes.append("pruning: not tuned, a semantic field is filled by the cluster alone")
    if not abilities.seismic:
        notes.append("SEISMIC: not tuned, the field is not a sparse_vector")
    return notes
