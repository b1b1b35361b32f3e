"""Subword models of a tokenizer.json: which tokens need which others, and the model with fewer tokens.

A text whose tokens all stay keeps its tokens. WordPiece takes the longest token that fits and Unigram the best path,
and both still do when other tokens are gone. A BPE builds a token from smaller ones, merge by merge, so that those must
stay too; since the merges that it uses stay, and in their order, no removed merge was ever chosen before them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from osparse.errors import InputError
from osparse.packager.vocabulary.subword.merges import Merges


class Subwords(ABC):
    """The ``model`` part of a tokenizer.json."""

    prefix: str = ""
    """What a token that continues a word begins with."""
    suffix: str = ""
    """What a token that ends a word ends with."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw

    @cached_property
    @abstractmethod
    def ids(self) -> dict[str, int]:
        """Token -> id, of the model's own tokens."""

    def required(self) -> Iterator[str]:
        """Tokens without which the model could not be loaded, or would tokenise every text otherwise."""
        if isinstance(self.raw.get("unk_token"), str):
            yield self.raw["unk_token"]
        if self.raw.get("byte_fallback"):
            yield from (token for n in range(256) if (token := f"<0x{n:02X}>") in self.ids)

    def ancestors(self, token: str) -> frozenset[str]:
        """Smaller tokens that the model builds ``token`` from."""
        return frozenset()

    def core(self, token: str) -> str:
        """The token without the marks of its place in a word."""
        if self.prefix and token.startswith(self.prefix) and token != self.prefix:
            token = token[len(self.prefix) :]
        return token.removesuffix(self.suffix) if self.suffix and token != self.suffix else token

    def is_letter(self, token: str) -> bool:
        """Whether a token is one character."""
        return len(self.core(token)) == 1

    def is_spelt(self, token: str) -> bool:
        """Whether the text of a token would have tokens without it."""
        return bool(self.raw.get("byte_fallback")) or all(letter in self.ids for letter in self.core(token))

    @abstractmethod
    def trimmed(self, ids: Mapping[str, int]) -> dict[str, Any]:
        """The model with these tokens of its own, and their new ids from 0 on."""


class WordPiece(Subwords):
    """A vocabulary of whole words and of pieces that continue a word."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self.prefix = raw.get("continuing_subword_prefix") or ""

    @cached_property
    def ids(self) -> dict[str, int]:
        return dict(self.raw["vocab"])

    def is_spelt(self, token: str) -> bool:
        """Greedy matching never fails where each character has a token for its place in the word."""
        core = self.core(token)
        first = core[:1] if core == token else self.prefix + core[:1]
        return {first, *(self.prefix + letter for letter in core[1:])} <= self.ids.keys()

    def trimmed(self, ids: Mapping[str, int]) -> dict[str, Any]:
        return {**self.raw, "vocab": dict(sorted(ids.items(), key=lambda pair: pair[1]))}


class Bpe(Subwords):
    """A vocabulary with the merges that build it."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self.prefix = raw.get("continuing_subword_prefix") or ""
        self.suffix = raw.get("end_of_word_suffix") or ""
        self.merges = Merges(raw.get("merges") or [], self.prefix)

    @cached_property
    def ids(self) -> dict[str, int]:
        return dict(self.raw["vocab"])

    def ancestors(self, token: str) -> frozenset[str]:
        return self.merges.ancestors(token)

    def is_spelt(self, token: str) -> bool:
        return bool(self.merges.ancestors(token)) or super().is_spelt(token)

    def trimmed(self, ids: Mapping[str, int]) -> dict[str, Any]:
        vocabulary = dict(sorted(ids.items(), key=lambda pair: pair[1]))
        return {**self.raw, "vocab": vocabulary, "merges": self.merges.among(vocabulary.keys())}


class Unigram(Subwords):
    """A vocabulary with log probabilities; the unknown token is named by its id."""

    @cached_property
    def ids(self) -> dict[str, int]:
        return {token: i for i, (token, _) in enumerate(self.raw["vocab"])}

    def required(self) -> Iterator[str]:
        """With the least probable token, since an unknown character costs a fixed amount more than that."""
        yield from super().required()
        pieces = self.raw["vocab"]
        if isinstance(self.raw.get("unk_id"), int):
            yield pieces[self.raw["unk_id"]][0]
        if pieces:
            yield min(pieces, key=lambda piece: piece[1])[0]

    def trimmed(self, ids: Mapping[str, int]) -> dict[str, Any]:
        scores = dict(map(tuple, self.raw["vocab"]))
        pieces = [[token, scores[token]] for token, _ in sorted(ids.items(), key=lambda pair: pair[1])]
        unknown = self.raw.get("unk_id")
        return {
            **self.raw,
            "vocab": pieces,
            "unk_id": ids[self.raw["vocab"][unknown][0]] if isinstance(unknown, int) else None,
        }


KINDS: dict[str, type[Subwords]] = {"WordPiece": WordPiece, "BPE": Bpe, "Unigram": Unigram}
"""``type`` of a tokenizer.json's model -> how it is trimmed."""


def subwords_of(raw: Mapping[str, Any], source: str) -> Subwords:
    """The subword model of a parsed tokenizer.json.

    Raises:
        InputError: a model of another type, whose tokens cannot stand in for a removed one.
    """
    kind = str(raw["model"].get("type"))
    if kind not in KINDS:
        raise InputError(
            f"{source}: the tokenizer model {kind} cannot be trimmed, since a removed token would be unknown; "
            f"`vocabulary` is for {', '.join(KINDS)}: leave it out"
        )
    return KINDS[kind](raw["model"])
