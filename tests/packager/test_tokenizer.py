"""The packaged tokenizer knows each id by its own raw token, whatever family it is of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import world
from families import TEXTS, byte_level, metaspace, wordpiece
from tokenizers import Tokenizer, normalizers

from osparse.errors import BundleError, ModelError
from osparse.packager import package
from osparse.packager.tokenizer.packaged import load, lossy, packaged_tokenizer, unreadable


@pytest.mark.parametrize(("make", "was_lossy"), [(byte_level, True), (metaspace, True), (wordpiece, False)])
def test_every_id_keeps_its_own_token(make: Callable[[Path], Path], was_lossy: bool, tmp_path: Path) -> None:
    path = make(tmp_path / "tokenizer.json")
    original = Tokenizer.from_file(str(path))
    # WordPiece's decoder glues "##ing" to what stands before it, and strips nothing from it alone.
    assert bool(lossy(original)) == was_lossy
    packaged = load(packaged_tokenizer(path, 64), "packaged")
    special = {original.token_to_id(token) for token in world.SPECIAL}
    vocabulary = original.get_vocab()
    ordinary = {token: i for token, i in vocabulary.items() if i not in special}
    decoded = {packaged.decode([i]): i for i in ordinary.values()}
    assert decoded == ordinary
    for text in TEXTS:
        assert packaged.encode(text).ids == original.encode(text).ids[:64]


def test_truncation_is_written_and_padding_is_not(tmp_path: Path) -> None:
    path = world.make_tokenizer(tmp_path / "tokenizer.json")
    padded = Tokenizer.from_file(str(path))
    padded.enable_padding(length=50)
    padded.enable_truncation(7)
    padded.save(str(path))
    raw = json.loads(packaged_tokenizer(path, 40))
    assert raw["truncation"] == {"max_length": 40, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    assert raw["padding"] is None and raw["decoder"] is None
    assert json.loads(packaged_tokenizer(path, 2000))["truncation"]["max_length"] == 512


def test_a_tokenizer_that_loses_tokens_is_refused(tmp_path: Path) -> None:
    path = world.make_tokenizer(tmp_path / "tokenizer.json")
    raw = json.loads(path.read_text())
    raw["model"]["vocab"][""] = len(raw["model"]["vocab"])  # the server drops empty strings
    path.write_text(json.dumps(raw))
    with pytest.raises(BundleError, match=r"1 tokens would be lost.*id 400 '' decodes to ''"):
        packaged_tokenizer(path, 64)


@pytest.mark.parametrize("make", [byte_level, metaspace, wordpiece])
def test_every_family_is_written_as_old_tokenizers_read_it(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """tokenizers 0.19.1 refuses merges written as pairs, as 0.20 and later write them."""
    path = make(tmp_path / "tokenizer.json")
    data = packaged_tokenizer(path, 64)
    assert unreadable(data, "0.19.1") == unreadable(data, "0.20.3") == []
    merges = json.loads(data)["model"].get("merges", [])
    assert all(isinstance(pair, str) and pair.count(" ") == 1 for pair in merges)
    assert bool(merges) == (make is byte_level)


def test_components_that_a_server_lacks_are_named(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(byte_level(tmp_path / "tokenizer.json")))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.ByteLevel()])
    data = json.loads(tokenizer.to_str())
    data["model"]["merges"] = [["a b", "c"]]
    data["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "FixedLength", "length": 3}]}
    old = unreadable(json.dumps(data).encode(), "0.19.1")
    assert old[:2] == [
        "tokenizers 0.19.1 has no normalizer ByteLevel", "tokenizers 0.19.1 has no pre_tokenizer FixedLength"
    ]  # fmt: skip
    assert "merges as strings" in old[2]
    assert unreadable(json.dumps(data).encode(), "0.20.3") == ["tokenizers 0.20.3 has no pre_tokenizer FixedLength"]


@pytest.mark.parametrize("make", [byte_level, metaspace])
def test_a_model_of_another_family_packages(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """Its documents' and queries' keys are raw tokens, each its own; graphs and emulator hold, or package fails."""
    model = world.make_model(tmp_path / "model", tokenizer=make(tmp_path / "tokenizer.json"))
    made = package(model, tmp_path / "bundle", ["onnx"])
    probes = {probe.lang: probe for probe in made.probes()}
    keys = {*probes["ko"].query, *probes["ko"].document}
    assert keys <= set(model.lexicon.tokens) and any(key.startswith(("▁", "Ġ")) for key in keys)
    assert made.targets[0] == "2.15" and made.checks["tokenizer"]["tokens"] == len(model.lexicon.tokens) - 5


def test_a_tokenizer_without_special_tokens_is_refused(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(world.make_tokenizer(tmp_path / "tokenizer.json")))
    raw = json.loads(tokenizer.to_str()) | {"post_processor": None}
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw))
    model = world.make_model(tmp_path / "model", tokenizer=tmp_path / "tokenizer.json")
    with pytest.raises(ModelError, match="adds no special tokens.*empty text"):
        package(model, tmp_path / "bundle")


@pytest.mark.parametrize("text", ["[]", "{}", "{", '{"model": 3}'])
def test_what_is_no_fast_tokenizer_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(text)
    with pytest.raises((ModelError, BundleError), match=r"tokenizer\.json"):
        packaged_tokenizer(path, 64)
