"""Which tokens stay: those that must, then those that a corpus uses most."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from tokenizers import decoders

from osparse.errors import InputError
from osparse.packager.vocabulary.request import VocabularyRequest
from osparse.packager.vocabulary.scripts import script_of, scripts_of
from osparse.packager.vocabulary.subword.tokenizer_file import TokenizerFile
from osparse.packager.vocabulary.token_use import TokenUse

SPACES = "▁"
"""What SentencePiece and byte-level tokenizers write for a space; the latter are decoded."""


@dataclass(frozen=True)
class Choice:
    """The tokens that stay."""

    tokens: frozenset[str]
    special: int
    """How many of them are special, added, or needed by the tokenizer's model."""
    alphabet: int
    """How many more spell the corpus: its characters, and tokens whose characters are no tokens."""


class Chooser:
    """The tokens of a vocabulary, with what each of them needs."""

    def __init__(self, files: Sequence[TokenizerFile], tokens: Sequence[str], use: TokenUse) -> None:
        """``files``: tokenizers of documents and of queries; ``tokens``: the raw token of each id."""
        self._files, self._tokens, self._use = files, tokens, use
        self._known = {token for token in tokens if token}

    def choose(self, request: VocabularyRequest, always: Iterable[str] = ()) -> Choice:
        """The tokens of a request; ``always`` stay whatever it says.

        Raises:
            InputError: more tokens must stay than the request allows.
        """
        special = self._closed({*always, *self._special()})
        must = self._closed({*special, *self._alphabet()})
        if request.size is None:
            return Choice(self._closed({*must, *request.listed}), len(special), len(must) - len(special))
        if len(must) > request.size:
            raise InputError(
                f"`vocabulary={request.size}` is below the {len(must):,} tokens that must stay: {len(special):,} "
                f"special ones, and {len(must) - len(special):,} that spell the corpus, letter by letter; ask for more"
            )
        return Choice(self._filled(must, request.size), len(special), len(must) - len(special))

    def _special(self) -> set[str]:
        return {token for file in self._files for token in (*file.special(), *file.subwords.required())} & self._known

    def _alphabet(self) -> set[str]:
        """Tokens of one character that the corpus has, and tokens of the corpus that nothing else could spell."""
        return {token for file in self._files for token in self._alphabet_of(file)}

    def _alphabet_of(self, file: TokenizerFile) -> set[str]:
        subwords, characters = file.subwords, self._use.characters
        letters = {token for token in subwords.ids if subwords.is_letter(token)}
        if not file.is_byte_level:
            letters = {token for token in letters if subwords.core(token) in characters or token == SPACES}
        met = {token for token, is_met in zip(self._tokens, self._use.met, strict=True) if is_met and token}
        return letters | {token for token in met if token in subwords.ids and not subwords.is_spelt(token)}

    def _filled(self, must: Collection[str], size: int) -> frozenset[str]:
        """With the most used tokens that still fit, then letters of the corpus' scripts, for texts to come."""
        stay = set(must)
        used = (i for i in self._use.order().tolist() if self._can_be_met(i))
        for token in chain((self._tokens[i] for i in used), self._letters()):
            if len(stay) == size:
                break
            needed = self._closed({token}) - stay
            if len(stay) + len(needed) <= size:
                stay |= needed
        return frozenset(stay)

    def _letters(self) -> list[str]:
        """Tokens of one letter in the corpus' scripts, by id."""
        subwords, scripts = self._files[0].subwords, self._use.scripts
        return [t for t in self._tokens if t and subwords.is_letter(t) and script_of(subwords.core(t)) in scripts]

    def _can_be_met(self, i: int) -> bool:
        """Whether a text in the corpus' scripts may have the token."""
        token = self._tokens[i]
        if not token:
            return False
        text = decoders.ByteLevel().decode([token]) if self._files[0].is_byte_level else token
        return bool(self._use.met[i]) or scripts_of(text) <= self._use.scripts

    def _closed(self, tokens: Iterable[str]) -> frozenset[str]:
        """With what each tokenizer builds them from."""
        tokens = {*tokens}
        built = {older for file in self._files for token in tokens for older in file.subwords.ancestors(token)}
        return frozenset(tokens | (built & self._known))
