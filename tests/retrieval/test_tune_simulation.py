"""What is simulated from the stored weights is what the index answers, setting by setting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from osparse.contracts.dataset import Dataset
from osparse.deployer.cluster.api import ClusterApi
from osparse.errors import InputError
from osparse.evaluation.measures import NDCG, judged_sets, measure, open_benchmark
from osparse.retrieval import Searcher, evaluate
from osparse.retrieval.serving.settings import Feedback, Hybrid, Pruning, QueryWeights, Setting, TwoPhase
from osparse.retrieval.tuning.offline.simulate import Simulator
from osparse.retrieval.tuning.offline.stored import StoredVectors, read_stored

Make = Callable[[str], Any]
KINDS = ["client", "plugin", "ml-commons"]
SETTINGS = [
    Setting(),
    Setting(QueryWeights(power=1.5)),
    Setting(QueryWeights(power=0.5, drop_ratio=0.3)),
    Setting(QueryWeights(top=2)),
    Setting(two_phase=TwoPhase(0.6, 1.0)),
    Setting(QueryWeights(power=2), two_phase=TwoPhase(0.3, 2.0)),
    Setting(feedback=Feedback(2, 5, 0.5)),
    Setting(feedback=Feedback(3, 8, 1.0, rerank=4)),
    Setting(hybrid=Hybrid("min_max", "arithmetic_mean", 0.4)),
    Setting(hybrid=Hybrid("z_score", "harmonic_mean", 0.7)),
    Setting(hybrid=Hybrid("l2", "geometric_mean", 0.5, by_direction={"ko->en": 0.9})),
    Setting(hybrid=Hybrid("rrf", weight=0.6, rank_constant=5), feedback=Feedback(1, 3, 0.3)),
]


def stored_of(cluster: Any) -> tuple[StoredVectors, Searcher]:
    searcher = Searcher(cluster, "world")
    return read_stored(ClusterApi(cluster), "world", searcher.deployment, searcher.encoder.lexicon), searcher


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_a_simulated_search_is_the_served_one(
    kind: str, setting: Setting, make_cluster: Make, dataset: Dataset
) -> None:
    cluster = make_cluster(kind)
    stored, searcher = stored_of(cluster)
    served = Searcher(cluster, "world", setting=setting)
    bm25 = Searcher(cluster, "world").passes
    compared = 0
    for split in ("train", "test"):
        for judged in judged_sets(dataset, split):
            texts, lang = list(judged.queries.values()), judged.document_lang
            words = bm25.bm25(texts, size=100, lang=lang)
            simulator = Simulator(stored, searcher.encoder, {(lang, t): w for t, w in zip(texts, words, strict=True)})
            for text, rows in zip(texts, served.passes.hits(texts, size=5, lang=lang), strict=True):
                expected = {row["_id"]: row["_score"] for row in rows}
                found = simulator.ranking(text, setting, lang, 5)
                assert list(found) == list(expected)
                assert list(found.values()) == pytest.approx(list(expected.values()), rel=1e-5, abs=1e-5)
                compared += len(found)
    assert compared > 50


@pytest.mark.parametrize("kind", KINDS)
def test_a_pruned_index_is_simulated_too(kind: str, make_cluster: Make, dataset: Dataset) -> None:
    cluster = make_cluster(kind)
    stored, searcher = stored_of(cluster)
    choice = Pruning("max_ratio", 0.5)
    texts = list(judged_sets(dataset, "train")[0].queries.values())
    simulator = Simulator(stored, searcher.encoder)
    expected = [simulator.ranking(text, Setting(pruning=choice), None, 5) for text in texts]
    assert expected != [simulator.ranking(text, Setting(), None, 5) for text in texts]
    for document, source in list(cluster.index.documents.items()):
        vector = source["sparse_embedding"]
        left = {token: w for token, w in vector.items() if w > 0.5 * max(vector.values())}
        cluster.index.put(document, {**source, "sparse_embedding": left})
    for text, found in zip(texts, expected, strict=True):
        (rows,) = searcher.passes.hits([text], size=5)
        assert list(found) == [row["_id"] for row in rows]
    again, _ = stored_of(cluster)
    assert again.postings == stored.pruned(choice).postings < stored.postings


def test_the_setting_of_an_index_is_how_it_is_searched(make_cluster: Make) -> None:
    cluster = make_cluster("client")
    setting = Setting(QueryWeights(top=1))
    before = Searcher(cluster, "world").search("growing pears in spring").query
    cluster.index.mappings["_meta"]["osparse_tuning"] = {"schema": 1, "setting": setting.to_json()}
    searcher = Searcher(cluster, "world")
    assert searcher.setting == setting
    assert len(before) > 1 and len(searcher.search("growing pears in spring").query) == 1


def test_an_index_of_another_vocabulary_is_refused(make_cluster: Make) -> None:
    cluster = make_cluster("client")
    document, source = next(iter(cluster.index.documents.items()))
    cluster.index.put(document, {**source, "sparse_embedding": {"no such token": 1.0}})
    with pytest.raises(InputError, match="which is no token of its bundle"):
        stored_of(cluster)


def test_postings_that_are_read(make_cluster: Make) -> None:
    stored, searcher = stored_of(make_cluster("client"))
    simulator = Simulator(stored, searcher.encoder)
    text = "growing pears in spring"
    ids = set(searcher.encoder.ids(text))
    assert simulator.cost([text], Setting()) == sum(int(token) in ids for token in stored.tokens)
    plain = simulator.cost([text], Setting())
    assert simulator.cost([text], Setting(feedback=Feedback(rerank=50))) == 2 * plain
    hits = list(simulator.ranking(text, Setting(), None, 2))
    joined = {int(t) for row, t in zip(stored.rows, stored.tokens, strict=True) if stored.ids[row] in hits}
    second = sum(int(token) in ids | joined for token in stored.tokens)
    assert simulator.cost([text], Setting(feedback=Feedback(2, 400, 0.5))) == plain + second > 2 * plain
    assert simulator.cost([text], Setting(two_phase=TwoPhase(0.99))) < simulator.cost([text], Setting())


def test_evaluate_measures_an_index_with_feedback(make_cluster: Make, dataset: Dataset) -> None:
    cluster, data = make_cluster("client"), open_benchmark(dataset.path, "train")
    choice = Feedback(2, 8, 2.0)
    plain, changed = (evaluate(data, cluster=cluster, index="world", feedback=f) for f in (None, choice))
    assert changed.key != plain.key and "feedback" in changed.systems[0]["search_setting"]
    assert changed.systems[0]["latency_ms"]["p95"] > 0 and "search_setting" not in plain.systems[0]
    stored, searcher = stored_of(cluster)
    simulator = Simulator(stored, searcher.encoder)
    for judged in data.sets:
        run = {
            query: simulator.ranking(text, Setting(feedback=choice), judged.document_lang, 11)
            for query, text in judged.queries.items()
        }
        (row,) = [r for r in changed.rows if r.direction == judged.direction and not r.no_shared_word]
        assert row.figures[NDCG] == pytest.approx(measure(judged.qrels, run, [NDCG]).mean(NDCG))
    assert [r.figures for r in changed.rows] != [r.figures for r in plain.rows]
    with pytest.raises(InputError, match="`feedback` needs `index`"):
        evaluate(data, baseline="bm25", feedback=choice)
