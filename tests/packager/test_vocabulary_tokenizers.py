"""Trimmed tokenizers: a text whose tokens are all left keeps them, in every family, whatever else is gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import families
import pytest
import world
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from osparse.errors import InputError, ModelError
from osparse.packager.vocabulary.subword.ids import deal_ids
from osparse.packager.vocabulary.subword.merges import Merges
from osparse.packager.vocabulary.subword.tokenizer_file import TokenizerFile

TEXTS = [*families.TEXTS, *(t for t in world.ODD_TEXTS if t.strip())]


def clip_like(path: Path) -> Path:
    """A BPE whose last symbol of a word has a mark of its own."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=world.SPECIAL, end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator(families.TEXTS, trainer)
    families.with_special(tokenizer).save(str(path))
    return path


def byte_fallback(path: Path) -> Path:
    """A Unigram that spells an unknown character byte by byte."""
    raw = json.loads(families.metaspace(path).read_text())
    raw["model"]["vocab"] += [[f"<0x{n:02X}>", -12.0 - n / 1000] for n in range(256)]
    raw["model"]["byte_fallback"] = True
    path.write_text(json.dumps(raw))
    return path


FAMILIES: dict[str, Callable[[Path], Path]] = {
    "wordpiece": families.wordpiece,
    "byte-level": families.byte_level,
    "metaspace": families.metaspace,
    "clip-like": clip_like,
    "byte-fallback": byte_fallback,
}


def read(path: Path) -> tuple[TokenizerFile, Tokenizer]:
    return TokenizerFile(path.read_bytes(), str(path)), Tokenizer.from_file(str(path))


def tokens_of(tokenizer: Tokenizer, text: str, **options: Any) -> list[str]:
    """By their ids: an unknown character is the unknown token."""
    return [str(tokenizer.id_to_token(i)) for i in tokenizer.encode(text, **options).ids]


def closed(file: TokenizerFile, tokens: set[str]) -> set[str]:
    tokens = {*tokens, *file.special(), *file.subwords.required()}
    return tokens | {older for token in tokens for older in file.subwords.ancestors(token)}


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_text_keeps_its_tokens_if_they_are_left(kind: str, tmp_path: Path) -> None:
    """Each text in turn with no other tokens than its own, and what the tokenizer cannot do without."""
    file, whole = read(FAMILIES[kind](tmp_path / "tokenizer.json"))
    size = whole.get_vocab_size()
    for text in TEXTS:
        expected = tokens_of(whole, text)
        tokens = closed(file, set(expected))
        trimmed = Tokenizer.from_str(file.trimmed(file.ids(tokens)).decode())
        assert tokens_of(trimmed, text) == expected
        assert trimmed.get_vocab_size() == len(tokens) < size
        assert sorted(trimmed.get_vocab().values()) == list(range(len(tokens))), "ids have no gaps"


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_token_that_is_left_can_be_reached(kind: str, tmp_path: Path) -> None:
    """Every third token with its ancestors: what was a token by itself before is one afterwards."""
    file, whole = read(FAMILIES[kind](tmp_path / "tokenizer.json"))
    tokens = closed(file, {token for token, i in whole.get_vocab().items() if i % 3 == 0})
    trimmed = Tokenizer.from_str(file.trimmed(file.ids(tokens)).decode())
    reached = 0
    for token in sorted(tokens):
        word = file.subwords.core(token)
        if [piece.value for piece in whole.model.tokenize(word)] == [token]:
            reached += 1
            assert [piece.value for piece in trimmed.model.tokenize(word)] == [token]
    assert reached > 30


def test_merges_go_by_their_order_and_not_by_the_first_that_leads_to_a_token() -> None:
    """abc may be a+bc or ab+c; the library merges the pair that comes first in the list."""
    merges = Merges(["b c", "a b", "ab c", "a bc"])
    assert merges.ancestors("abc") == {"a", "b", "c", "bc"}
    assert Merges(["a b", "b c", "ab c", "a bc"]).ancestors("abc") == {"a", "b", "c", "ab"}
    assert merges.among({"a", "b", "c", "bc", "abc"}) == ["b c", "a bc"]
    assert Merges([["a", "b"], ["ab", "c"]]).among({"a", "b", "ab"}) == [["a", "b"]]


def test_a_token_that_no_merges_lead_to_has_no_ancestors() -> None:
    merges = Merges(["b c", "a b", "ab c"])
    assert merges.ancestors("abc") == frozenset(), "b and c are merged first, and a bc is no merge"
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate("a b c ab bc abc".split())}, [("b", "c"), ("a", "b"), ("ab", "c")]))  # fmt: skip
    assert tokenizer.encode("abc").tokens == ["a", "bc"]


@pytest.mark.parametrize(
    ("own", "added", "dealt"),
    [
        ([0, 1, 2], [], {0: 0, 1: 1, 2: 2}),
        ([0, 5, 2, 9], [], {0: 0, 2: 2, 5: 1, 9: 3}),
        ([7, 1], [20, 12], {1: 1, 7: 0, 12: 2, 20: 3}),
        ([], [3], {3: 0}),
    ],
)
def test_low_ids_stay_and_the_others_fill_the_gaps(own: list[int], added: list[int], dealt: dict[int, int]) -> None:
    assert deal_ids(own, added) == dealt


def test_an_added_token_of_its_own_keeps_its_place_after_the_model(tmp_path: Path) -> None:
    path = families.metaspace(tmp_path / "tokenizer.json")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.add_tokens(["pear-tree"])
    tokenizer.add_special_tokens(["<extra>"])
    tokenizer.save(str(path))
    file, whole = read(path)
    assert {"pear-tree", "<extra>"} <= file.special()
    tokens = closed(file, set(tokens_of(whole, "the pear-tree")))
    trimmed = Tokenizer.from_str(file.trimmed(file.ids(tokens)).decode())
    assert tokens_of(trimmed, "the pear-tree <extra>") == tokens_of(whole, "the pear-tree <extra>")
    assert trimmed.get_added_tokens_decoder().keys() >= {len(tokens) - 2, len(tokens) - 1}


@pytest.mark.parametrize(
    "processor",
    [
        processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2)),
        processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)),
        processors.Sequence([processors.ByteLevel(), processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))]),
    ],
)
def test_every_post_processor_is_renumbered(processor: Any, tmp_path: Path) -> None:
    """The special tokens have the highest ids, so that theirs change."""
    path = families.byte_level(tmp_path / "tokenizer.json")
    raw = json.loads(path.read_text())
    size = len(raw["model"]["vocab"])
    swap = {old: size - 1 - old for old in range(size)}
    raw["model"]["vocab"] = {token: swap[i] for token, i in raw["model"]["vocab"].items()}
    raw["added_tokens"] = [{**row, "id": swap[row["id"]]} for row in reversed(raw["added_tokens"])]
    part = json.loads(processor.__getstate__())
    for row in part.get("processors", [part]):
        for end in ("sep", "cls"):
            if end in row:
                row[end][1] = swap[row[end][1]]
    raw["post_processor"] = part
    path.write_text(json.dumps(raw))
    file, whole = read(path)
    expected = tokens_of(whole, "growing pears")
    assert expected[0] == "[CLS]" and expected[-1] == "[SEP]"
    trimmed = Tokenizer.from_str(file.trimmed(file.ids(closed(file, set(expected)))).decode())
    encoded = trimmed.encode("growing pears")
    assert encoded.tokens == expected
    assert [trimmed.id_to_token(i) for i in encoded.ids] == expected, "ids and tokens agree"


def test_a_document_prompt_stays(tmp_path: Path) -> None:
    """Its ids are ordinary tokens that only the post-processor names."""
    path = families.wordpiece(tmp_path / "tokenizer.json")
    raw = json.loads(path.read_text())
    ids = Tokenizer.from_file(str(path)).encode("moon", add_special_tokens=False)
    raw["post_processor"]["single"].insert(1, {"SpecialToken": {"id": "prompt", "type_id": 0}})
    raw["post_processor"]["special_tokens"]["prompt"] = {"id": "prompt", "ids": ids.ids, "tokens": ids.tokens}
    path.write_text(json.dumps(raw))
    file, whole = read(path)
    assert set(ids.tokens) <= file.special()
    trimmed = Tokenizer.from_str(file.trimmed(file.ids(closed(file, set(tokens_of(whole, "배"))))).decode())
    pear = trimmed.encode("배").ids
    assert [trimmed.id_to_token(i) for i in pear] == tokens_of(whole, "배")


def test_a_unigram_keeps_its_least_probable_token(tmp_path: Path) -> None:
    """An unknown character costs a fixed amount more than that token."""
    file, _ = read(families.metaspace(tmp_path / "tokenizer.json"))
    least = min(file.subwords.raw["vocab"], key=lambda piece: piece[1])[0]
    assert least in set(file.subwords.required()) and "[UNK]" in set(file.subwords.required())


def test_byte_tokens_stay(tmp_path: Path) -> None:
    file, whole = read(byte_fallback(tmp_path / "tokenizer.json"))
    trimmed = Tokenizer.from_str(file.trimmed(file.ids(closed(file, set()))).decode())
    assert tokens_of(trimmed, "🍐")[-5:-1] == tokens_of(whole, "🍐")[-5:-1] == ["<0xF0>", "<0x9F>", "<0x8D>", "<0x90>"]


def test_a_model_of_whole_words_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    Tokenizer(models.WordLevel({"[UNK]": 0, "pear": 1}, unk_token="[UNK]")).save(str(path))
    with pytest.raises(InputError, match="the tokenizer model WordLevel cannot be trimmed"):
        read(path)


def test_a_tokenizer_without_what_it_needs_is_refused(tmp_path: Path) -> None:
    file, whole = read(families.wordpiece(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelError, match="cannot do without"):
        file.trimmed(file.ids(set(tokens_of(whole, "moon", add_special_tokens=False))))
