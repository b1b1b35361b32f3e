"""The emulator gives what a real OpenSearch 3.4.0 was measured to give, and agrees with the tests' own emulator."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import world
from mlcommons_models import Runtime
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from osparse.contracts.bundle import Bundle
from osparse.errors import BundleError, CheckError
from osparse.formula.head import Head
from osparse.formula.lucene_rounding import quantise
from osparse.formula.lucene_rounding import score as index_score
from osparse.formula.pruning import prune as prune_weights
from osparse.packager.checks.emulator import ServerEncoder, ServerTokenizer
from osparse.packager.checks.lucene_emulator import Seismic, prune, rank_features, score

TEXTS = [*(probe for record in world.RECORDS[:3] for probe in record[1:]), *world.ODD_TEXTS, "\ud83d half a pair"]


def other_emulator(bundle: Bundle, key: str) -> Runtime:
    """The second reading of the same server, in tests/support/mlcommons_models.py."""
    file = bundle.files[key]
    document = {"name": "m", "model_version": "1", "algorithm": file.function_name, "model_format": file.model_format}
    return Runtime(document, bundle.zip_path(key).read_bytes(), "id")


@pytest.mark.parametrize("form", ["WORD", "TOKEN_ID"])
@pytest.mark.parametrize("key", ["torchscript", "onnx", "tokenizer"])
def test_two_readings_of_the_server_agree(bundle: Bundle, key: str, form: Any) -> None:
    path = bundle.zip_path(key)
    ours: Any = (
        ServerTokenizer.open(path) if key == "tokenizer" else ServerEncoder.open(path, bundle.files[key].model_format)
    )
    theirs = other_emulator(bundle, key)
    for text in TEXTS:
        assert ours.predict(text, form) == pytest.approx(theirs.predict(text, form), rel=1e-4, abs=1e-6)  # keys too


def words_zip(path: Path, *, truncation: dict[str, Any] | None, idf: Any = None, decoder: Any = None) -> Path:
    """A tokenizer of 700 one-token words, "▁" before each, in a zip."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokens = [*specials, *(f"▁w{i}" for i in range(700)), "w1"]
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(specials)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    if decoder:
        tokenizer.decoder = decoder
    raw = json.loads(tokenizer.to_str())
    raw["truncation"] = truncation and {"strategy": "LongestFirst", "stride": 0, "direction": "Right", **truncation}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tokenizer.json", json.dumps(raw))
        if idf is not None:
            archive.writestr("idf.json", idf if isinstance(idf, str) else json.dumps(idf))
    return path


@pytest.mark.parametrize(
    ("truncation", "kept"),
    [
        (None, range(510)),
        ({"max_length": 32}, range(30)),
        ({"max_length": 510}, range(508)),
        ({"max_length": 1024}, range(510)),
        ({"max_length": 128, "direction": "Left"}, range(574, 700)),
    ],
)
def test_truncation_as_measured(tmp_path: Path, truncation: dict[str, Any] | None, kept: range) -> None:
    tokenizer = ServerTokenizer.open(words_zip(tmp_path / "t.zip", truncation=truncation))
    answer = tokenizer.predict(" ".join(f"w{i}" for i in range(700)))
    assert list(answer) == [f"▁w{i}" for i in kept]


def test_weights_are_looked_up_by_decoded_strings(tmp_path: Path) -> None:
    """A decoder makes "▁w1" and "w1" one key, which then has the other token's weight; without one it has its own."""
    idf = {"▁w1": 2.5, "w1": 9.0, "▁w2": "3.5"}
    decoded = words_zip(tmp_path / "a.zip", truncation=None, idf=idf, decoder=decoders.Metaspace())
    raw = words_zip(tmp_path / "b.zip", truncation=None, idf=idf)
    assert ServerTokenizer.open(decoded).predict("w1 w2 w3 w1") == {"w1": 9.0, "w2": 1.0, "w3": 1.0}
    assert ServerTokenizer.open(raw).predict("w1 w2 w3 w1") == {"▁w1": 2.5, "▁w2": 3.5, "▁w3": 1.0}
    assert ServerTokenizer.open(raw).predict("w1 unheard", "TOKEN_ID") == {"5": 2.5}


@pytest.mark.parametrize("idf", ["", "[1, 2]", '{"a": {"b": 1}}', '{"a": null}', "no json"])
def test_an_idf_that_fails_on_the_server(tmp_path: Path, idf: str) -> None:
    with pytest.raises(BundleError, match="idf.json is not a flat map"):
        ServerTokenizer.open(words_zip(tmp_path / "t.zip", truncation=None, idf=idf))


def encoder_zip(path: Path, members: dict[str, bytes]) -> Path:
    words = words_zip(path.with_name("words.zip"), truncation=None)
    with zipfile.ZipFile(path, "w") as archive, zipfile.ZipFile(words) as given:
        archive.writestr("tokenizer.json", given.read("tokenizer.json"))
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({}, "no model file"),
        ({"a.pt": b"", "b.pt": b""}, "exactly one"),
        ({"a.pt": b""}, r"exactly one \*\.onnx"),
        ({"a.onnx": b"", "b.jar": b""}, "3.8 refuses"),
    ],
)
def test_archives_the_server_refuses(tmp_path: Path, members: dict[str, bytes], said: str) -> None:
    path = encoder_zip(tmp_path / "e.zip", members)
    with pytest.raises(BundleError, match=said):
        ServerEncoder.open(path, "ONNX", lambda ids, mask: np.zeros((1, 9), np.float32))


def test_an_encoder_is_asked_once_as_soon_as_it_is_deployed(tmp_path: Path) -> None:
    path = encoder_zip(tmp_path / "e.zip", {"model.onnx": b""})
    with pytest.raises(BundleError, match="'warm up sentence' gets NaN"):
        ServerEncoder.open(path, "ONNX", lambda ids, mask: np.full((1, 9), np.inf, np.float32))


def test_words_drop_special_ids_and_ids_past_the_vocabulary(tmp_path: Path) -> None:
    weights = np.zeros((1, 800), np.float32)
    weights[0, [2, 5, 799]] = [1.0, 0.1, 3.0]
    encoder = ServerEncoder.open(encoder_zip(tmp_path / "e.zip", {"model.onnx": b""}), "ONNX", lambda *_: weights)
    assert encoder.predict("w") == {"▁w1": 0.1}  # the shortest decimal of the float32
    assert encoder.predict("w", "TOKEN_ID") == {"2": 1.0, "5": 0.1, "799": 3.0}


def test_rank_features_keep_the_bits_that_the_formula_says() -> None:
    weights = np.random.default_rng(0).gamma(1.0, 2.0, 500).astype(np.float32)
    stored = rank_features({str(i): float(w) for i, w in enumerate(weights)})
    assert list(stored.values()) == quantise(weights).tolist()
    query = {str(i): 0.5 + i % 7 for i in range(0, 500, 9)}
    document = {str(i): float(w) for i, w in enumerate(weights)}
    assert score(query, stored) == pytest.approx(index_score(query, document), rel=1e-6)


@pytest.mark.parametrize("weight", [0.0, -1.0, 1e-38, float("inf"), float("nan")])
def test_weights_a_rank_features_field_refuses(weight: float) -> None:
    with pytest.raises(CheckError, match="positive normal"):
        rank_features({"a": weight})


def test_terms_and_query_weights_the_index_refuses() -> None:
    assert rank_features({"a" * 32_766: 1.0}) and score({"a": 64.0}, {"a": 1.0}) == 64
    with pytest.raises(CheckError, match="33,000 bytes"):
        rank_features({"a" * 33_000: 1.0})
    for weight in (0.0, -1.5, 64.5):
        with pytest.raises(CheckError, match="whole query fails"):
            score({"b": 1.0, "a": weight}, {})


@pytest.mark.parametrize(
    ("document", "query", "wanted"),
    [
        ({1: 3.0}, {1: 1.0}, 3.0118),
        ({1: 20.0}, {1: 1.0}, 3.0118),  # clipped
        ({1: 0.001}, {1: 1.0}, 0.0),
        ({5: 0.5, 5 + 65_536: 2.5}, {5: 1.0}, 2.5157),  # folded: the larger stays
        ({1: 1.0}, {1: 64.0}, 16.0),
    ],
)
def test_seismic_scores_as_measured(document: dict[int, float], query: dict[int, float], wanted: float) -> None:
    assert Seismic(fold=65_536).score(query, document) == pytest.approx(wanted, abs=1e-4)


def test_seismic_folds_ids_by_a_short() -> None:
    assert Seismic().store({7: 1.0, 7 + 32_768: 2.0}) == {7: 170}


def test_pruning_of_the_ingest_processor() -> None:
    weights = {"a": 4.0, "b": 2.0, "c": 1.0, "d": 1.0}
    assert prune(weights, "max_ratio", 0.5) == {"a": 4.0, "b": 2.0}
    assert prune(weights, "abs_value", 1.5) == {"a": 4.0, "b": 2.0}
    assert prune(weights, "top_k", 1) == {"a": 4.0}
    assert prune(weights, "alpha_mass", 0.75) == {"a": 4.0, "b": 2.0}
    assert prune(weights, "none") == weights
    with pytest.raises(CheckError, match="must be positive"):
        prune({"a": 0.0}, "top_k", 1)


def test_max_ratio_keeps_a_weight_on_the_floor_where_the_graph_drops_it() -> None:
    """So a graph that prunes by itself and a processor with the same ratio differ by such weights alone."""
    head = Head(prune_ratio=0.5)
    assert prune_weights(np.array([4.0, 2.0, 1.0], np.float32), head).tolist() == [4.0, 0.0, 0.0]
    assert list(prune({"a": 4.0, "b": 2.0, "c": 1.0}, "max_ratio", 0.5)) == ["a", "b"]
