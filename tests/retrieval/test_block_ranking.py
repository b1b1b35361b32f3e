"""Ranking block by block, in one process and in two: the figures of one index over the corpus, to the last bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from world import RECORDS

from osparse.contracts.bundle import Bundle
from osparse.contracts.model import Model
from osparse.errors import InputError, OsparseError
from osparse.evaluation.measures import Benchmark, open_benchmark
from osparse.retrieval import evaluate
from osparse.retrieval.systems import block_ranking
from osparse.retrieval.systems.block_ranking import BestDocuments, Candidates
from osparse.runtime.spread import spread


@pytest.fixture(autouse=True)
def one_encoding() -> None:
    """The encoders themselves, not the memo of this folder's other tests."""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    """Each text three times under ids in another order than its lines, so that equal scores meet across blocks of six."""
    names = [f"{copy}-{group}-{lang}" for copy in "bca" for group, *_ in RECORDS for lang in ("ko", "en")]
    texts = {group: {"ko": korean, "en": english} for group, _, korean, _, english in RECORDS}
    corpus = [{"_id": name, "text": texts[name.split("-")[1]][name[-2:]], "lang": name[-2:]} for name in names]
    queries = [{"_id": f"{group}-{lang}", "text": text, "lang": lang}
               for group, korean, _, english, _ in RECORDS for lang, text in (("ko", korean), ("en", english))]  # fmt: skip
    qrels = [f"{query['_id']}\tb-{query['_id'][:-2]}{lang}\t1\n" for query in queries for lang in ("ko", "en")]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("".join(qrels), encoding="utf-8")
    plain = Benchmark.texts
    monkeypatch.setattr(Benchmark, "texts", lambda self: plain(self, 3))
    monkeypatch.setattr(block_ranking, "BATCHES", 2)
    return open_benchmark(tmp_path)


def here(function: Any, work: Any, processes: int, *, start: Any, setup: Any) -> Iterator[Any]:
    """What a process does, in this one."""
    threads = torch.get_num_threads()
    start(*setup)
    torch.set_num_threads(threads)
    yield from map(function, work)


@pytest.mark.parametrize(("kind", "processes"), [("bundle", 1), ("bundle", 2), ("model", 1), ("model", 2)])
def test_blocks_are_ranked_as_one_index_is(
    kind: str,
    processes: int,
    data: Benchmark,
    bundle: Bundle,
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if kind == "model":  # its processes take seconds to import torch
        monkeypatch.setattr(block_ranking, "spread", here)
    systems: Any = {"bundles": [bundle]} if kind == "bundle" else {"models": [model]}
    measures = ["nDCG@10", "hit@1", "R@3"]
    whole = evaluate(data, measures=measures, save_runs=tmp_path / "whole", **systems)
    blocks = evaluate(data, measures=measures, save_runs=tmp_path / "blocks", processes=processes, **systems)
    assert blocks == whole
    (run,) = (tmp_path / "whole").glob("*.run")
    lines = run.read_text(encoding="utf-8")
    assert lines == (tmp_path / "blocks" / run.name).read_text(encoding="utf-8")
    assert len(data.sets) == 4 and lines.count("\n") == 16 * 2 * 11, "every list is cut, within equal scores"


def first_seven(scores: np.ndarray, numbers: np.ndarray, rows: np.ndarray) -> list[int]:
    """Rows of a score above 0 by falling score, then by number."""
    order = sorted((-scores[row], numbers[row], row) for row in rows.tolist() if scores[row] > 0)
    return [row for _, _, row in order[:7]]


def test_the_best_documents_are_those_of_one_sort() -> None:
    """Few different scores, so that ties stand at the cut; blocks of different sizes, some without a document."""
    random = np.random.default_rng(2)
    scores = random.integers(0, 4, (5, 60)).astype(float)
    numbers = random.permutation(60)
    best = BestDocuments(5, 7)
    for part in np.split(np.arange(60), [1, 1, 20, 25, 59]):
        found = [first_seven(scores[query], numbers, part) for query in range(5)]
        flat = [(query, row) for query, rows in enumerate(found) for row in rows]
        best.add(
            Candidates(
                np.array([len(rows) for rows in found]),
                np.array([numbers[row] for _, row in flat], np.int64),
                np.array([scores[query, row] for query, row in flat]),
            )
        )
    ids = pl.Series([f"d{number:02}" for number in range(60)])
    for query, ranking in enumerate(best.rankings(ids)):
        order = first_seven(scores[query], numbers, np.arange(60))
        assert list(ranking.items()) == [(f"d{numbers[row]:02}", scores[query, row]) for row in order]


def test_an_id_that_is_twice_and_a_number_of_processes_are_refused(data: Benchmark, bundle: Bundle) -> None:
    with pytest.raises(InputError, match="`processes` must be at least 1, got 0"):
        evaluate(data, bundles=[bundle], processes=0)
    doubled = Benchmark("d", "test", "f", pl.concat([data.documents, data.documents]), data.sets)
    with pytest.raises(InputError, match="the document id 'a-bees-en' is there twice"):
        evaluate(doubled, bundles=[bundle], processes=1)


def test_a_process_that_is_killed_is_an_error_with_a_reason() -> None:
    import os

    with pytest.raises(OsparseError, match="one of 1 processes ended before its work was done"):
        list(spread(os._exit, [1], 1, start=print, setup=()))
