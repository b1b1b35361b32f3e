"""The packaged tokenizer knows each id by its own raw token, whatever family it is of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import world
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from osparse.errors import BundleError, ModelError
from osparse.packager.tokenizer import load, lossy, packaged_tokenizer

TEXTS = [text for record in world.RECORDS for text in record[1:]]


def byte_level(path: Path) -> Path:
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=world.SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.save(str(path))
    return path


def metaspace(path: Path) -> Path:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=world.SPECIAL, unk_token="[UNK]", show_progress=False
    )
    tokenizer.train_from_iterator([*TEXTS, "the the the then pear pears the"], trainer)
    tokenizer.save(str(path))
    return path


def wordpiece(path: Path) -> Path:
    tokenizer = Tokenizer.from_file(str(world.make_tokenizer(path)))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.save(str(path))
    return path


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


@pytest.mark.parametrize("text", ["[]", "{}", "{", '{"model": 3}'])
def test_what_is_no_fast_tokenizer_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(text)
    with pytest.raises((ModelError, BundleError), match=r"tokenizer\.json"):
        packaged_tokenizer(path, 64)
