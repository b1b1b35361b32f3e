"""Queries made from documents, and the fusion fitted by them, against the searches that use it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from click.testing import CliRunner
from mlcommons_server import mlcommons_server
from numpy.typing import NDArray

from osparse.cli.main import cli
from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.deployer import Cluster, deploy, index_documents
from osparse.errors import InputError
from osparse.evaluation.rank_measures import ndcg
from osparse.retrieval import Searcher, fit_fusion
from osparse.retrieval.serving.settings import Hybrid, Setting
from osparse.retrieval.tuning.known_items import fit as fit_module
from osparse.retrieval.tuning.known_items.fit import hybrid_of, sample
from osparse.retrieval.tuning.known_items.queries import KnownItem, Text, known_items, sentences
from osparse.retrieval.tuning.known_items.result import FittedWeight

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def cluster(lookup: Bundle, dataset: Dataset) -> Iterator[Cluster]:
    """The world's eight documents in Korean and eight in English in the index "products"."""
    with mlcommons_server(plugins=()) as running:
        cluster = Cluster(running.url, retries=2, backoff=0.01)
        deploy(lookup, cluster, "products")
        index_documents(cluster, "products", [dataset.path], workers=1)
        yield cluster


def test_sentences_that_can_be_asked() -> None:
    text = "Open the settings and press the key. Short one.\nA heading of five whole words\n\n" + "word " * 31 + "."
    assert list(sentences(text)) == ["Open the settings and press the key.", "A heading of five whole words"]


def test_a_sentence_of_two_documents_asks_for_neither() -> None:
    shared, own, other = (
        "Click the button to open it.",
        "The first page alone says this.",
        "Nobody else has said that yet.",
    )
    texts = [Text("a", f"{shared} {own}", "en"), Text("b", f"{shared} {other} {other}", "en")]
    items = known_items(texts, per_document=3)
    assert {(item.query, item.document) for item in items} == {(own, "a"), (other, "b")}
    assert known_items(reversed(texts), per_document=3) == items


def test_across_languages_sparse_search_has_all_the_weight() -> None:
    rows = [FittedWeight(d, w, 1, 0, 0, 0, 1, 1) for d, w in (("ko->ko", 0.3), ("en->en", 0.2), ("en->*", 0.4))]
    fusion = hybrid_of(rows, ["en", "ko"])
    shares = {
        d: fusion.weight_for(d) for d in ("ko->ko", "en->*", "ko->en", "en->ko", "ja->en", "ja->*", "und->en", "ko->*")
    }
    assert shares == {
        "ko->ko": 0.3, "en->*": 0.4, "ko->en": 1, "en->ko": 1, "ja->en": 1, "ja->*": 1, "und->en": 0.2, "ko->*": 0.2
    }  # fmt: skip


def test_the_fitted_weight_is_the_best_of_the_searches_themselves(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_module, "FEWEST", 4)
    fit = fit_fusion(cluster, "products", apply=True)
    assert [row.direction for row in fit.rows] == ["en->en", "en->*", "ko->ko", "ko->*"] and "records" in fit.applied
    assert Searcher(cluster, "products").setting == fit.setting
    items = known_items(sample(Searcher(cluster, "products").passes.api, "products", 0))
    for row in fit.rows:
        asked, answered = row.direction.split("->")
        own = [item for item in items if item.lang == asked]

        def figures(weight: float, own: list[KnownItem] = own, answered: str = answered) -> NDArray[np.float64]:
            searcher = Searcher(cluster, "products", setting=Setting(hybrid=Hybrid(weight=weight)))
            runs = [searcher.search(i.query, top=10, lang=None if answered == "*" else answered).hits for i in own]
            return np.array(
                [ndcg([h.id for h in hits], {i.document: 1}, 10) for i, hits in zip(own, runs, strict=True)]
            )

        measured = {weight: figures(weight) for weight in (0.1, 0.5, row.weight, 1.0)}
        assert measured[row.weight][1::2].mean() == pytest.approx(row.fused)
        assert measured[row.weight][::2].mean() == max(values[::2].mean() for values in measured.values())
        assert measured[1.0][1::2].mean() == pytest.approx(row.sparse)


def test_too_few_sentences_are_refused_and_nothing_is_recorded(cluster: Cluster) -> None:
    with pytest.raises(InputError, match=r"16 sentences of 16 documents are too few .* give a `dataset`"):
        fit_fusion(cluster, "products", apply=True)
    assert Searcher(cluster, "products").setting == Setting()


def test_the_command(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_module, "FEWEST", 4)
    common = ["tune", "--cluster", cluster.url, "--index", "products"]
    shown = CliRunner().invoke(cli, [*common, "--known-items"])
    assert shown.exit_code == 0 and "en->en" in shown.output and "--apply" in shown.output
    both = CliRunner().invoke(cli, [*common, "--known-items", "--budget", "p95<=1s"])
    assert both.exit_code != 0 and "leave out --budget" in str(both.exception)
    neither = CliRunner().invoke(cli, common)
    assert neither.exit_code == 2 and "--known-items" in neither.output
