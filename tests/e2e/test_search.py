"""Asking the real node, as a user does."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.deployer import deploy, index_documents, open_cluster

pytestmark = [pytest.mark.e2e, pytest.mark.network]
INDEX = "asked"
QUERY = "phases of the moon 2.0"


@pytest.fixture(autouse=True)
def quiet_after() -> Iterator[None]:
    """A command's log handler writes to the captured stream of its own test."""
    yield
    logging.getLogger("osparse").handlers.clear()


@pytest.fixture(scope="module")
def target(node: Any, bundle: Bundle, dataset: Dataset) -> Iterator[list[str]]:
    cluster = open_cluster(node.url)
    deploy(bundle, cluster, INDEX, mode="client")
    index_documents(cluster, INDEX, [dataset.path])
    yield ["--cluster", node.url, "--index", INDEX]
    cluster.request("DELETE", f"/{INDEX}-{bundle.short}")


def osparse(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


def test_hits_with_their_tokens(target: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert osparse("search", *target, "--explain", "--top", "4", "--json", QUERY) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["hits"]) == 4 and "2.0" not in found["query"] and found["query"]["."] > 0
    for hit in found["hits"]:
        total = sum(match["query_weight"] * match["document_weight"] for match in hit["matched"])
        assert hit["matched"] and total == pytest.approx(hit["score"], rel=1e-6)
    assert osparse("search", *target, "--explain", "--top", "4", QUERY) == 0
    shown = capsys.readouterr().out
    for hit in found["hits"]:
        assert hit["id"] in shown and f"{hit['score']:.3f}" in shown and hit["matched"][0]["token"] in shown


def test_only_one_language(target: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    osparse("search", *target, "--lang", "ko", "--top", "16", "--json", QUERY)
    only = json.loads(capsys.readouterr().out)["hits"]
    osparse("search", *target, "--top", "16", "--json", QUERY)
    every = json.loads(capsys.readouterr().out)["hits"]
    assert only and [hit for hit in every if hit["lang"] == "ko"] == only != every


@pytest.mark.parametrize(("text", "why"), [("", "the query is empty"), ("🍐", "no token of '🍐'")])
def test_a_query_without_tokens_gets_an_answer(
    text: str, why: str, target: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert osparse("search", *target, text) == 0
    assert capsys.readouterr().out.startswith(f"no hits: {why}")


def test_explain_shows_both_sides(target: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    osparse("search", *target, "--top", "1", "--json", QUERY)
    (hit,) = json.loads(capsys.readouterr().out)["hits"]
    assert osparse("explain", *target, "--document", hit["id"], "--json", QUERY) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["score"] == pytest.approx(hit["score"], rel=1e-6)
    assert osparse("explain", *target, "--document", hit["id"], QUERY) == 0
    shown = capsys.readouterr().out
    assert f"score     {found['score']:.4f}" in shown and "in both" in shown and "other weights" in shown
    assert osparse("explain", *target, "--document", "nobody", QUERY) == 2
    assert "no document 'nobody'" in capsys.readouterr().err


def test_asking_imports_nothing_heavy(target: list[str]) -> None:
    code = (
        "import sys; from osparse.cli.main import main\n"
        f"try: main({['search', *target, QUERY]!r})\n"
        "finally: print([m for m in ('torch', 'transformers', 'polars', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
