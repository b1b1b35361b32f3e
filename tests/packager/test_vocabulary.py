"""``package(vocabulary=...)``: what is left, what that loses, and what cannot be trimmed."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import saved_worlds
import world

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset, save_dataset
from osparse.contracts.model import Model
from osparse.encoders.onnx_encoder import OnnxEncoder, open_query_encoder, read_tokenizer
from osparse.encoders.torch_encoder import TextEncoder
from osparse.errors import CheckError, InputError
from osparse.evaluation.measures import open_benchmark
from osparse.formula.lexicon import load_tokenizer
from osparse.packager import package, verify
from osparse.packager.vocabulary import trim as trimming
from osparse.packager.vocabulary.choice import Chooser
from osparse.packager.vocabulary.request import VocabularyRequest
from osparse.packager.vocabulary.scripts import main_scripts, script_of
from osparse.packager.vocabulary.subword.tokenizer_file import TokenizerFile
from osparse.packager.vocabulary.token_use import TokenUse
from osparse.packager.vocabulary.trimmed_model import with_tokens
from osparse.retrieval import evaluate

SIZE = 300


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """With a lexical table."""
    return world.make_model(tmp_path_factory.mktemp("model") / "model", lexical=True)


@pytest.fixture(scope="module")
def trimmed(own: Model, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return package(own, tmp_path_factory.mktemp("bundle") / "bundle", dataset=dataset, vocabulary=SIZE)


@pytest.fixture(scope="module")
def whole(own: Model, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return package(own, tmp_path_factory.mktemp("bundle") / "bundle", dataset=dataset)


def tokens_of(bundle: Bundle, part: str = "tokenizer") -> tuple[str, ...]:
    return read_tokenizer(bundle.zip_path(part))[1]


def test_every_part_has_the_tokens_that_are_left(trimmed: Bundle, own: Model) -> None:
    tokens = tokens_of(trimmed)
    assert len(tokens) == SIZE == trimmed.vocabulary and set(tokens) < set(own.lexicon.tokens)
    assert tokens[:5] == own.lexicon.tokens[:5] == tuple(world.SPECIAL) and trimmed.head.masked_ids == (0, 1, 2, 3, 4)
    encoder = OnnxEncoder.open(trimmed)
    assert encoder.tokens == tokens and next(encoder.batches(["배"]))[1].shape == (1, SIZE)
    idf = trimmed.probes()[0].query
    assert idf and all(weight <= own.lexicon.idf[own.lexicon.id_of[t]] + 1e-6 for t, weight in idf.items())


def test_query_weights_follow_the_documents_that_have_a_token_now(
    trimmed: Bundle, own: Model, dataset: Dataset
) -> None:
    """Counted by hand: only tokens in more documents than before weigh less, by the logarithm of how many more."""
    texts = dataset.documents.collect()["text"].to_list()
    old, new = load_tokenizer(own.path / "tokenizer.json"), read_tokenizer(trimmed.zip_path("onnx"))[0]
    encoder, lowered = open_query_encoder(trimmed.zip_path("tokenizer")), 0
    for token, weight in zip(encoder.lexicon.tokens, encoder.lexicon.idf.tolist(), strict=True):
        before, after = (sum(token in tokenizer.encode(text).tokens for text in texts) for tokenizer in (old, new))
        given = float(own.lexicon.idf[own.lexicon.id_of[token]])
        if token in world.SPECIAL or after <= before:
            assert weight == pytest.approx(given, rel=1e-6)
        else:
            lowered += 1
            assert weight == pytest.approx(max(1e-6, given - math.log((after + 1) / (before + 1))), abs=1e-5)
    assert lowered == trimmed.trimming["tokens"]["reweighted"] > 10


def test_it_verifies_alone_and_against_the_whole_model(trimmed: Bundle, own: Model, model: Model) -> None:
    outcomes = {check.name: check.outcome for check in verify(trimmed.path, model=own).checks}
    assert outcomes["onnx = model"] == outcomes["torchscript = model"] == "ok"
    with pytest.raises(InputError, match="is not what .* was trimmed from"):
        verify(trimmed.path, model=model)
    with pytest.raises(InputError, match="trimmed vocabulary, and `reference` gives weights of the whole one"):
        verify(trimmed.path, reference=own.path)


def test_another_row_is_found_by_comparing_with_the_model(
    trimmed: Bundle, own: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison is real: a model whose rows were kept under other ids differs."""
    monkeypatch.setattr(trimming, "with_tokens", lambda loaded, tokens: _swapped(with_tokens(loaded, tokens)))
    with pytest.raises(CheckError, match="onnx = model +failed"):
        verify(trimmed.path, model=own)


def _swapped(loaded: Any) -> Any:
    loaded.encoder.decoder.weight.data[[20, 21]] = loaded.encoder.decoder.weight.data[[21, 20]]
    return loaded


def test_texts_with_no_lost_token_keep_their_weights(whole: Bundle, trimmed: Bundle) -> None:
    """Two paths: the packaged graphs of both bundles, by token."""
    before, after = OnnxEncoder.open(whole), OnnxEncoder.open(trimmed)
    old, left = read_tokenizer(whole.zip_path("onnx"))[0], set(tokens_of(trimmed))
    texts = [text for record in world.RECORDS for text in record[1:] if left.issuperset(old.encode(text).tokens)]
    assert len(texts) >= 5
    for expected, found in zip(before.encode(texts), after.encode(texts), strict=True):
        assert found == pytest.approx({t: w for t, w in expected.items() if t in left}, abs=1e-4)


def test_the_loss_is_what_another_count_finds(
    trimmed: Bundle, whole: Bundle, own: Model, dataset: Dataset, tmp_path: Path
) -> None:
    stated, left = trimmed.trimming, set(tokens_of(trimmed))
    texts = dataset.documents.collect()["text"].to_list()
    vectors = TextEncoder.open(own).encode(texts)
    total = sum(sum(vector.values()) for vector in vectors)
    lost = sum(weight for vector in vectors for token, weight in vector.items() if token not in left)
    assert stated["weight_dropped"] == pytest.approx(lost / total, rel=1e-2) and lost > 0
    tokenizer = load_tokenizer(own.path / "tokenizer.json")
    for name, rows in (("documents", texts), ("queries", dataset.queries.collect()["text"].to_list())):
        tokens = [tokenizer.encode(text).tokens for text in rows]
        gone = [[token for token in row if token not in left] for row in tokens]
        share = sum(map(len, gone)) / sum(map(len, tokens))
        assert stated[name]["tokens_gone"] == pytest.approx(share, rel=1e-2) and share > 0
        assert stated[name]["texts_changed"] == pytest.approx(sum(map(bool, gone)) / len(rows), rel=1e-2)
    folders = [Path(shutil.copytree(b.path, tmp_path / name)) for b, name in ((whole, "before"), (trimmed, "after"))]
    report = evaluate(open_benchmark(dataset.path, "validation"), bundles=folders, measures=["nDCG@10"])
    measured = {(row.direction, row.system.removeprefix("bundle ")): row.figures["nDCG@10"] for row in report.rows}
    for direction, row in stated["ndcg"]["directions"].items():
        for side in ("before", "after"):
            assert row[side] == pytest.approx(measured[direction, side], abs=1e-3)
    assert stated["ndcg"]["split"] == "validation" and stated["ndcg"]["queries"] == 4


def test_the_bytes_saved_are_those_of_the_zips(trimmed: Bundle, whole: Bundle) -> None:
    saved = {key: whole.files[key].size - file.size for key, file in trimmed.files.items()}
    stated = trimmed.trimming["zip_bytes_saved"]
    assert stated["tokenizer"] == saved["tokenizer"] > 0
    for key in ("torchscript", "onnx"):
        assert stated[key] == pytest.approx(saved[key], rel=0.03) and saved[key] > 10_000
    assert trimmed.trimming["server_memory_bytes_saved"].keys() == {"torchscript", "onnx"}


def test_the_same_request_finds_it_made_and_another_one_does_not(
    trimmed: Bundle, own: Model, dataset: Dataset, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(trimmed.path, tmp_path / "model"))
    written = (folder / "manifest.json").stat().st_mtime_ns
    assert package(own, folder, dataset=dataset, vocabulary=str(SIZE)).fingerprint == trimmed.fingerprint
    assert (folder / "manifest.json").stat().st_mtime_ns == written
    for other in (SIZE + 1, None):
        with pytest.raises(InputError, match="quantisation, vocabulary or non-zeros; pass `overwrite=True`"):
            package(own, folder, dataset=dataset, vocabulary=other)
    again = package(own, tmp_path / "again", name=trimmed.name, dataset=dataset, vocabulary=SIZE)
    assert again.fingerprint == trimmed.fingerprint, "the same bytes"


def test_listed_tokens_stay_with_what_must(own: Model, dataset: Dataset, tmp_path: Path, trimmed: Bundle) -> None:
    special = set(world.SPECIAL)
    words = [token for token in own.lexicon.tokens if len(token.removeprefix("##")) > 3 and token not in special]
    listed, others = words[::2], words[1::2]
    file = tmp_path / "keep.txt"
    file.write_bytes(("\ufeff" + "\r\n".join([*listed, listed[0], ""])).encode())
    made = package(own, tmp_path / "bundle", ["onnx"], dataset=dataset, vocabulary=f"keep:{file}")
    tokens = set(tokens_of(made))
    assert tokens >= set(listed) and tokens.isdisjoint(others)
    assert len(tokens) == len(listed) + made.trimming["tokens"]["special"] + made.trimming["tokens"]["alphabet"]
    verify(made.path, model=own)


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (0, "`vocabulary=0` is not within 1 to 400"),
        ("-3", "`vocabulary=-3` is not within 1 to 400"),
        (401, "`vocabulary=401` is not within 1 to 400, the tokens of"),
        (50, r"`vocabulary=50` is below the 255 tokens that must stay: 5 special ones, and 250 that spell the corpus"),
        ("small", "must be a number of tokens or keep:FILE .* got 'small'"),
        ("1e4", "must be a number of tokens or keep:FILE .* got '1e4'"),
        ("keep:{path}/none.txt", "none.txt is not a file"),
        ("keep:{path}/empty.txt", "empty.txt lists no token"),
        ("keep:{path}/latin.txt", "latin.txt is not UTF-8"),
        ("keep:{path}/unknown.txt", r"2 of 3 tokens are not the model's, like \['pearish', '##zz'\]"),
    ],
)
def test_what_is_refused(own: Model, dataset: Dataset, tmp_path: Path, vocabulary: Any, message: str) -> None:
    for name, content in {"empty": b"\n\n", "latin": b"caf\xe9\n", "unknown": "pearish\n배\n##zz\n".encode()}.items():
        (tmp_path / f"{name}.txt").write_bytes(content)
    asked = vocabulary.format(path=tmp_path) if isinstance(vocabulary, str) else vocabulary
    with pytest.raises(InputError, match=message):
        package(own, tmp_path / "bundle", ["onnx"], dataset=dataset, vocabulary=asked)
    assert not (tmp_path / "bundle").exists()


def test_there_is_nothing_to_choose_by_without_a_dataset(
    own: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="`vocabulary=300` needs `dataset`"):
        package(own, tmp_path / "bundle", vocabulary=300)
    with pytest.raises(SystemExit) as stopped:
        main(["package", str(own.path), "--output", str(tmp_path / "b"), "--vocabulary", "300"])
    assert stopped.value.code == 2 and "--vocabulary 300 needs --dataset" in capsys.readouterr().err


def test_queries_that_measure_the_loss_choose_no_token(own: Model, dataset: Dataset, tmp_path: Path) -> None:
    """Other validation and test queries, the same tokens; another training query, others."""
    tables = {name: getattr(dataset, name).collect() for name in ("documents", "queries")}
    held = set(pl.concat([dataset.qrels(s).collect() for s in ("validation", "test")])["query_id"])

    def tokens(name: str, change: pl.Expr) -> set[str]:
        made = save_dataset(
            tmp_path / name,
            documents=tables["documents"],
            queries=tables["queries"].with_columns(text=pl.when(change).then(pl.lit("flowers kneaded oven")).otherwise("text")),
            qrels={split: dataset.qrels(split).collect() for split in dataset.splits},
            sources=dataset.manifest.sources, split_rule="", seed=0,
        )  # fmt: skip
        return set(tokens_of(package(own, tmp_path / f"{name}-b", ["onnx"], dataset=made, vocabulary=260)))

    usual = tokens("usual", pl.lit(False))
    assert tokens("held", pl.col("id").is_in(list(held))) == usual
    assert tokens("train", ~pl.col("id").is_in(list(held))) != usual


def test_documents_alone_are_enough(own: Model, dataset: Dataset, tmp_path: Path) -> None:
    """Without judgements nothing is measured, and the card says so."""
    made = save_dataset(
        tmp_path / "plain", documents=dataset.documents.collect(), queries=dataset.queries.collect().clear(), qrels={},
        sources=dataset.manifest.sources, split_rule="", seed=0,
    )  # fmt: skip
    bundle = package(own, tmp_path / "bundle", ["onnx"], dataset=made, vocabulary=SIZE)
    assert bundle.trimming["ndcg"] == {} and bundle.trimming["queries"]["texts"] == 0
    card = (bundle.path / "README.md").read_text(encoding="utf-8")
    assert "was not measured, since the dataset has no judgements" in card


@pytest.mark.parametrize("kind", ["symmetric", "routed", "roberta", "xlm-roberta"])
def test_checkpoints_of_other_libraries(kind: str, dataset: Dataset, tmp_path: Path) -> None:
    """The whole checkpoint is compared with its library, and the bundle with the checkpoint's own rows."""
    base = tmp_path / "base"
    if kind == "symmetric":
        root = saved_worlds.symmetric(saved_worlds.bert(base), tmp_path / "model", model={"max_active_dims": 40})
    elif kind == "routed":
        root = saved_worlds.routed(saved_worlds.bert(base), tmp_path / "model")
    else:
        make = saved_worlds.roberta if kind == "roberta" else saved_worlds.xlm_roberta
        root = saved_worlds.symmetric(make(base), tmp_path / "model")
    size = len(load_tokenizer(base / "tokenizer.json").get_vocab())
    made = package(root, tmp_path / "bundle", dataset=dataset, vocabulary=size)
    assert made.vocabulary < size or kind == "roberta", "letters of other scripts are gone"
    assert not {"α", "Б", "漢"} & set(tokens_of(made))
    assert made.checks["reference"]["largest_difference_below"].keys() == {"model", "queries"}
    outcomes = {check.name: check.outcome for check in verify(made.path, model=root).checks}
    assert outcomes["onnx = model"] == outcomes["torchscript = model"] == "ok"


def test_scripts_of_a_corpus() -> None:
    assert [script_of(letter) for letter in "a가漢あж1.🍐"] == ["LATIN", "HANGUL", "CJK", "HIRAGANA", "CYRILLIC", None, None, None]  # fmt: skip
    assert main_scripts({"a": 5000, "가": 5000, "ж": 9, ".": 90_000}) == {"LATIN", "HANGUL"}, "a stray word makes none"
    assert main_scripts({"a": 5000, "ж": 6}) == {"LATIN", "CYRILLIC"} and main_scripts({}) == frozenset()


def choose(tokens: str, size: int, characters: str, **counts: dict[str, float]) -> set[str]:
    """Of a WordPiece vocabulary; ``counts``: documents, queries and weights by token."""
    words = ["[UNK]", *tokens.split()]
    raw = {"model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                     "vocab": {word: i for i, word in enumerate(words)}}}  # fmt: skip
    file = TokenizerFile(json.dumps(raw).encode(), "tokenizer.json")
    arrays = {name: np.array([counts.get(name, {}).get(word, 0) for word in words]) for name in ("documents", "queries", "weights")}  # fmt: skip
    use = TokenUse(**arrays, characters=frozenset(characters), scripts=main_scripts(dict.fromkeys(characters, 1)))
    request = VocabularyRequest(size, (), "", None)  # type: ignore[arg-type]  # the dataset is not looked at here
    return set(Chooser([file], words, use).choose(request).tokens) - {"[UNK]"}


def test_tokens_without_use_leave_and_those_of_other_scripts_whatever_they_weigh() -> None:
    tokens = "a ##a b ##b ab ba aab паром ж"
    chosen = choose(tokens, 10, "ab", weights={"ab": 1, "паром": 9, "ж": 9}, documents={"ba": 1})
    assert chosen == {"a", "##a", "b", "##b", "ab", "ba"}, "aab has no use, паром and ж cannot be met"
    assert "ж" in choose(tokens, 10, "ab", documents={"ж": 1, "a": 1}), "a text has it"


def test_common_tokens_stay_and_what_cannot_be_spelt_without() -> None:
    tokens = "a ##a b ##b ab ba aab q1 z"
    counts: dict[str, Any] = {"documents": {"ab": 50, "ba": 10, "aab": 30, "q1": 1}}
    assert choose(tokens, 7, "abq1", **counts) == {"a", "##a", "b", "##b", "ab", "q1"}, "q and 1 are no tokens"
    assert choose(tokens, 8, "abq1", **counts) == {"a", "##a", "b", "##b", "ab", "aab", "q1"}
    assert choose(tokens, 9, "ab", queries={"ba": 1}, documents={"ab": 5}) >= {"ab", "ba", "z"}, "z: a letter to come"
    with pytest.raises(InputError, match="below the 6 tokens that must stay: 1 special ones, and 5 that spell"):
        choose(tokens, 5, "abq1", **counts)


def test_rare_tokens_stay_in_the_order_of_the_tokenizer() -> None:
    """A token that the tokenizer learned late was rare in training too, and the model knows little of it."""
    tokens = "a ##a b ##b ab ba aab bba"
    counts: dict[str, Any] = {"documents": {"ab": 1, "ba": 2, "aab": 9, "bba": 10}, "weights": {"aab": 9}}
    chosen = [choose(tokens, size, "ab", **counts) - {"a", "##a", "b", "##b"} for size in (6, 7, 8, 9)]
    assert chosen == [{"bba"}, {"bba", "ab"}, {"bba", "ab", "ba"}, {"bba", "ab", "ba", "aab"}]


def test_a_token_that_all_documents_have_stays_whatever_it_weighs() -> None:
    """Without "the" every document would be tokenised in another way."""
    tokens = "t h e ##t ##h ##e the he"
    assert "the" in choose(tokens, 8, "the", documents={"the": 100}, weights={"he": 100}, queries={})
