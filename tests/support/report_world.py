"""A small dataset whose queries hold what a page must not stumble over: Korean, markup, the end of a script."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import world

from osparse.contracts.dataset import Dataset, Source, save_dataset

HOSTILE = '</script><img src="https://example.com/x" onerror="document.title=1"> & "moon" \u2028 bees'
QUERIES = {"q:hostile": (HOSTILE, "en", "moon:en"), "q:korean": ("배나무 키우기", "ko", "pear:ko"),
           "q:cross": ("growing pears", "en", "pear:ko"), "q:rain": ("clouds and rain", "en", "rain:en"),
           "q:tram": ("tram lines", "en", "tram:en"), "q:nothing": ("\U0001f350", "en", "clay:en")}  # fmt: skip
"""Query id -> text, language, the relevant document."""


def make_report_dataset(path: Path) -> Dataset:
    documents = [
        (f"{group}:{lang}", "", text, lang, None, "world", group)
        for group, _, korean, _, english in world.RECORDS
        for lang, text in (("ko", korean), ("en", english))
    ]
    columns = ["id", "title", "text", "lang", "date", "source", "group"]
    qrels = [(query, answer, 1.0, "annotated") for query, (_, _, answer) in QUERIES.items()]
    names = ["query_id", "document_id", "score", "origin"]
    return save_dataset(
        path,
        documents=pl.DataFrame(documents, schema=columns, orient="row"),
        queries=pl.DataFrame(
            [(query, text, lang, None) for query, (text, lang, _) in QUERIES.items()],
            schema=["id", "text", "lang", "date"], orient="row",
        ),
        qrels={split: pl.DataFrame(qrels, schema=names, orient="row") for split in ("train", "validation", "test")},
        sources=[Source("world", "Apache-2.0", len(documents), len(documents), {}, "0" * 64)],
        split_rule="all queries in every split",
        seed=0,
    )  # fmt: skip
