"""The lexicon: every token weighed, written and read back without loss, and refused when it does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import world

from osparse.errors import ModelError
from osparse.formula.lexicon import MAX_WEIGHT, MIN_WEIGHT, Lexicon, load_tokenizer, read_idf, read_vocabulary


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.make_tokenizer(tmp_path_factory.mktemp("lexicon") / "tokenizer.json")


def test_json_holds_every_token_and_reads_back_bit_for_bit(tokenizer: Path, tmp_path: Path) -> None:
    tokens, special = read_vocabulary(tokenizer)
    random = np.random.default_rng(0)
    weights = {token: float(random.uniform(1e-6, 64)) for token in tokens}
    lexicon = Lexicon.build(tokens, special, weights)
    (tmp_path / "idf.json").write_text(lexicon.idf_text(), encoding="utf-8")
    again = Lexicon.open(tokenizer, tmp_path / "idf.json")
    assert again.idf.tobytes() == lexicon.idf.tobytes()
    assert again.tokens == tokens
    assert again.special_ids == (0, 1, 2, 3, 4)
    assert again.version == lexicon.version
    table = json.loads((tmp_path / "idf.json").read_text(encoding="utf-8"))
    assert list(table) == list(tokens)
    assert all(np.float32(weight) == lexicon.idf[lexicon.id_of[token]] for token, weight in table.items())


def test_odd_tokens_survive_json() -> None:
    tokens = ("[PAD]", '"', "\\", "\u2028", "한", "", "a.b")
    lexicon = Lexicon.build(tokens, (0,), {token: 1.5 for token in tokens if token})
    assert json.loads(lexicon.idf_text()) == {token: 1.5 for token in tokens if token}
    assert lexicon.idf[5] == np.float32(MIN_WEIGHT)
    assert "" not in lexicon.id_of


def test_weights_are_clamped_to_what_a_server_takes() -> None:
    lexicon = Lexicon.build(("a", "b"), (), {"a": 1e-30, "b": 1e6})
    assert lexicon.idf.tolist() == [np.float32(MIN_WEIGHT), np.float32(MAX_WEIGHT)]


def test_another_weight_is_another_version() -> None:
    one, two = (Lexicon.build(("a", "b"), (), {"a": 1.0, "b": w}) for w in (2.0, 2.5))
    assert one.version != two.version
    assert len(one.version) == 12


def test_a_table_of_another_tokenizer_is_refused(tokenizer: Path, tmp_path: Path) -> None:
    tokens, _ = read_vocabulary(tokenizer)
    (tmp_path / "idf.json").write_text(json.dumps({token: 1.0 for token in tokens[:-2]} | {"stranger": 1.0}))
    with pytest.raises(
        ModelError, match="2 tokens have no weight.*1 weights are for tokens it does not have.*stranger"
    ):
        Lexicon.open(tokenizer, tmp_path / "idf.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "must be a flat JSON object"),
        ("[1]", "must be a flat JSON object"),
        ("{", "is not JSON"),
        ('{"a": 0}', "1 weights are not numbers above 0"),
        ('{"a": -1}', "1 weights are not numbers above 0"),
        ('{"a": "1"}', "1 weights are not numbers above 0"),
        ('{"a": true}', "1 weights are not numbers above 0"),
        ('{"a": NaN}', "1 weights are not numbers above 0"),
        ('{"a": 1e999}', "1 weights are not numbers above 0"),
    ],
)
def test_a_broken_table(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "idf.json").write_text(content)
    with pytest.raises(ModelError, match=message):
        read_idf(tmp_path / "idf.json")


def test_a_missing_table_or_tokenizer(tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="idf.json does not exist"):
        Lexicon.open(tokenizer, tmp_path / "idf.json")
    with pytest.raises(ModelError, match="tokenizer.json does not exist"):
        read_vocabulary(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="is not a tokenizer.json"):
        load_tokenizer(tmp_path / "tokenizer.json")
