"""The report of an index on the real node: BM25's words are those of the node's own analyzers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import report_world
from node_index import loaded_index

from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.deployer import Cluster
from osparse.retrieval import explain, write_html_report

pytestmark = [pytest.mark.e2e, pytest.mark.network]
INDEX = "reported"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return report_world.make_report_dataset(tmp_path_factory.mktemp("data") / "dataset")


@pytest.fixture(scope="module")
def cluster(node: Any, bundle: Bundle, data: Dataset) -> Iterator[Cluster]:
    with loaded_index(node.url, bundle, INDEX, data.path) as cluster:
        yield cluster


def test_the_words_of_bm25_and_the_reasons_are_the_nodes_own(cluster: Cluster, data: Dataset, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    written = write_html_report(data.path, output, cluster=cluster, index=INDEX)
    (text,) = re.findall(r'id="data">(.*?)</script>', output.read_text(encoding="utf-8"), re.DOTALL)
    content = json.loads(text)
    analyzers = written.evaluation.systems[0]["analyzers"]
    compared = 0
    for query in content["queries"]:
        lang = content["directions"][query["direction"]].split("->")[1]
        asked = tokens(cluster, f"{INDEX}-bm25-{lang}", analyzers[lang], query["text"])
        for document, _, _, _, _, _, words, _ in query["baseline"]:
            whole = next(t for i, t in data.documents.select("id", "text").collect().iter_rows()
                         if i == content["documents"][document][0])  # fmt: skip
            shared = asked & tokens(cluster, f"{INDEX}-bm25-{lang}", analyzers[lang], whole)
            marked = set().union(*(tokens(cluster, f"{INDEX}-bm25-{lang}", analyzers[lang], word) for word in words))
            assert words and shared <= marked
            compared += 1
    assert compared > 5
    for query in (query for query in content["queries"] if query.get("needed")):
        answer = content["documents"][query["answers"][0][0]][0]
        why = explain(cluster, INDEX, answer, query["text"], why_not=True).why_not
        assert why is not None
        expected = {needed.token: needed.rank for needed in why.needed}
        shown = {content["tokens"][token]: rank for token, _, _, rank in query["needed"]}
        assert shown.items() <= expected.items()
    assert "MB" in output.read_text(encoding="utf-8").split('id="cost"')[1]


def tokens(cluster: Cluster, index: str, analyzer: str, text: str) -> set[str]:
    body = {"analyzer": analyzer, "text": text}
    return {t["token"] for t in cluster.request("POST", f"/{index}/_analyze", body=body).body["tokens"]}
