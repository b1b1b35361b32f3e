"""Every reader on a faithful sample: from files to a dataset, and on to a trained step."""

from __future__ import annotations

import bz2
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from sample_topics import topic
from source_samples import SAMPLES, page, wiki_dump

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.corpus import build_dataset
from osparse.corpus.builder.stats import dataset_stats
from osparse.corpus.sources.readers import READERS
from osparse.encoders.torch_encoder import SparseEncoder
from osparse.errors import InputError
from osparse.formula.head import Head
from osparse.trainer.config.run_config import Ranking, SparsityConfig
from osparse.trainer.data.padding import SpecialTokens
from osparse.trainer.data.record_reader import read_records
from osparse.trainer.stages.ranking import RankingStage


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    """Every sample, built once."""
    found = {}
    for name, sample in SAMPLES.items():
        folder = tmp_path_factory.mktemp(name.replace(" ", "-"))
        found[name] = build_dataset(name.split()[0], sample.write(folder), folder / "dataset", options=sample.options)
    return found


def test_every_reader_has_a_sample() -> None:
    assert {name.split()[0] for name in SAMPLES} == set(READERS)


@pytest.mark.parametrize("name", SAMPLES)
def test_rows_are_counted_and_splits_are_apart(name: str, built: dict[str, Dataset]) -> None:
    (source,) = built[name].manifest.sources
    assert (source.rows_kept, source.dropped) == (SAMPLES[name].kept, dict(sorted(SAMPLES[name].dropped.items())))
    assert source.licence and len(source.sha256) == 64
    overlap = dataset_stats(built[name]).overlap
    assert overlap and all(shared == 0 for pair in overlap.values() for shared in pair.values())


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_trains_a_step(name: str, built: dict[str, Dataset], model: Model) -> None:
    from transformers import AutoModelForMaskedLM

    torch.manual_seed(0)
    tokenizer = model.path / "tokenizer.json"
    mlm = AutoModelForMaskedLM.from_pretrained(model.path)
    encoder = SparseEncoder(mlm, Head(max_length=32, masked_ids=model.head.masked_ids))
    ranking = Ranking(
        steps=1, batch=4, lr=1e-3, schedule="linear", warmup=0.0, max_length=32, temperature=2.0, spans=0, neighbours=0,
        span_weight=0.0,
    )  # fmt: skip
    records = read_records(built[name], tokenizer, model.lexicon)
    sparsity = SparsityConfig(weight=0.0, warmup=0.0, columns=50)
    stage = RankingStage(encoder, ranking, sparsity, records, model.lexicon.idf, SpecialTokens.of(tokenizer), 1)
    optimiser = torch.optim.SGD(encoder.parameters(), lr=1e-3)
    before = encoder.decoder.bias.detach().clone()
    loss = stage.backward(0).parts["ranking"]
    optimiser.step()
    assert np.isfinite(loss) and loss > 0
    assert torch.isfinite(encoder.decoder.bias).all() and not torch.equal(before, encoder.decoder.bias)


def texts(dataset: Dataset) -> dict[str, str]:
    return dict(dataset.documents.select("id", "text").collect().iter_rows())


def test_wikipedia_keeps_paragraphs_dates_and_language(built: dict[str, Dataset]) -> None:
    rows = {row["id"]: row for row in built["wikipedia"].documents.collect().to_dicts()}
    row = rows["wiki:ko:2"]
    assert (
        row["text"]
        == "빵 1번 빵은 밀가루와 물을 반죽하여 뜨거운 오븐에서 구워 만든다. 이것은 1번 글이다.\n\n1번 글의 둘째 문단은 빵의 쓰임새를 이야기한다."
    )
    assert (row["title"], row["lang"], str(row["date"]), row["group"]) == ("빵 1번", "ko", "2024-03-03", "wiki:ko:2")


def test_namuwiki_and_modu_keep_paragraphs_and_titles(built: dict[str, Dataset]) -> None:
    row = built["namuwiki"].documents.filter(pl.col("title") == "빵 1번").collect().row(0, named=True)
    assert row["text"].startswith("빵 1번 빵은 밀가루와") and row["text"].count("\n\n") == 1
    row = built["modu"].documents.filter(pl.col("title") == "빵 1번").collect().row(0, named=True)
    assert row["text"].startswith("빵은 밀가루와") and str(row["date"]) == "2018-01-02"


def test_msmarco_keeps_its_splits_and_hard_negatives(built: dict[str, Dataset]) -> None:
    dataset = built["msmarco"]
    assert dataset.manifest.split_rule == "as the source published them"
    assert {s: dataset.qrels(s).collect().height for s in ("train", "validation")} == {"train": 40, "validation": 20}
    rows = dataset.candidates("train").collect()
    assert rows.filter(pl.col("query_id") == "1003")["document_id"].sort().to_list() == ["4", "5"]
    assert rows.select("label", "origin").unique().rows() == [(0.0, "mined")]
    assert dataset.manifest.notes["hard_negatives_of_unjudged_queries"] == 1


def test_triples_and_scores_become_candidates(built: dict[str, Dataset]) -> None:
    assert built["msmarco triples"].candidates("train").select("label").unique().collect().rows() == [(0.0,)]
    scored = built["jsonl scored"].candidates("train").collect()
    assert set(scored["score"]) <= {9.5, 2.0, -1.25} and set(scored["scorer"]) == {"teacher"}
    best = built["jsonl scored"].qrels("train").collect()
    assert best.join(scored.filter(pl.col("score") == 9.5), on=["query_id", "document_id"], how="anti").is_empty()


def test_published_splits_of_a_dataset_dict_are_kept(built: dict[str, Dataset]) -> None:
    assert built["hf"].qrels("test").collect().height == 20
    assert not built["hf"].manifest.counts.get("qrels.validation.arrow")


def test_langlinks_put_translations_into_one_group(tmp_path: Path) -> None:
    ko, en = tmp_path / "ko.xml.bz2", tmp_path / "en.xml"
    ko.write_bytes(wiki_dump([page(i, topic(i, "ko")[0], topic(i, "ko")[1]) for i in range(1, 31)]))
    en.write_bytes(
        bz2.decompress(
            wiki_dump([page(i + 500, topic(i, "en")[0], topic(i, "en")[1]) for i in range(1, 31)], "en", "0.10")
        )
    )
    values = ",".join(f"({i},'en','{topic(i, 'en')[0].replace(' ', '_')}'),({i},'ja','x')" for i in range(1, 31))
    links = tmp_path / "langlinks.sql"
    links.write_text(f"-- a table\nINSERT INTO `langlinks` VALUES {values};\n")
    options = {"langlinks": str(links), "min_characters": "20"}
    dataset = build_dataset("wikipedia", [ko, en], tmp_path / "dataset", options=options)
    groups = dataset.documents.group_by("group").agg(pl.col("lang").sort()).collect()
    assert groups.height == 30 and all(langs == ["en", "ko"] for langs in groups["lang"].to_list())
    qrels = pl.concat([dataset.qrels(s) for s in ("train", "test")]).collect()
    assert set(qrels.group_by("query_id").len()["len"]) == {2}, "a title asks for the article in both languages"
    assert (
        build_dataset("wikipedia", [ko, en], tmp_path / "dataset", options=options).fingerprint == dataset.fingerprint
    )
    links.write_text(f"INSERT INTO `langlinks` VALUES {values.replace('(1,', '(99,')};\n")
    with pytest.raises(InputError, match="made from other inputs"):
        build_dataset("wikipedia", [ko, en], tmp_path / "dataset", options=options)
