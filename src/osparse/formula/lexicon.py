"""The lexicon: every vocabulary token under its raw string, with the weight it has in a query.

idf.json is a flat JSON object {raw vocabulary string: weight}. It holds *every* token: a token left out counts
1.0 on the server and 0.0 in sentence-transformers. Weights lie within [1e-6, 64] because a server refuses a whole
query over one weight outside (0, 64].
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from osparse.errors import ModelError
from osparse.io.files import read_json

MIN_WEIGHT = 1e-6
MAX_WEIGHT = 64.0
SLOW = ("vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
"""Files of tokenizers that are not in one tokenizer.json."""


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Tokens by id, their query weights, and the ids that never carry weight."""

    tokens: tuple[str, ...]
    """Raw vocabulary string of each id; ``""`` for an id the tokenizer does not use."""
    idf: np.ndarray
    """(V,) float32 within [1e-6, 64]."""
    special_ids: tuple[int, ...]
    """Ids of special tokens ([CLS], [UNK], ...), ascending."""

    @classmethod
    def open(cls, tokenizer: Path, idf: Path) -> Lexicon:
        """Read tokenizer.json and idf.json; raises :class:`ModelError` if they do not belong together."""
        tokens, special_ids = read_vocabulary(tokenizer)
        weights = read_idf(idf)
        return cls.build(tokens, special_ids, weights, source=str(idf))

    @classmethod
    def build(
        cls,
        tokens: Sequence[str],
        special_ids: Sequence[int],
        weights: Mapping[str, float],
        *,
        source: str = "idf",
    ) -> Lexicon:
        vocabulary = {token for token in tokens if token}
        missing = sorted(vocabulary - set(weights))
        unknown = sorted(set(weights) - vocabulary)
        if missing or unknown:
            raise ModelError(
                f"{source} does not fit the tokenizer: {len(missing)} tokens have no weight (like {missing[:3]}), "
                f"{len(unknown)} weights are for tokens it does not have ({unknown[:3]}); run: osparse idf"
            )
        idf = np.array([weights[token] if token else MIN_WEIGHT for token in tokens], dtype=np.float32)
        return cls(tuple(tokens), np.clip(idf, MIN_WEIGHT, MAX_WEIGHT), tuple(sorted(special_ids)))

    @cached_property
    def id_of(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens) if token}

    def idf_text(self) -> str:
        """idf.json's text: tokens in id order, weights as the shortest decimal of the float32."""
        quoted = json.JSONEncoder(ensure_ascii=False).encode
        pairs = (f"{quoted(t)}: {float(str(w))!r}" for t, w in zip(self.tokens, self.idf, strict=True) if t)
        return "{\n" + ",\n".join(pairs) + "\n}\n"

    @cached_property
    def version(self) -> str:
        """Twelve hex digits that name this table; equal weights, equal version."""
        return hashlib.sha256(self.idf_text().encode()).hexdigest()[:12]


def read_vocabulary(tokenizer: Path) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Raw token of every id and the special ids, from a tokenizer.json."""
    return vocabulary_of(load_tokenizer(tokenizer))


def vocabulary_of(tokenizer: Tokenizer) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Raw token of every id and the special ids."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    tokens = [""] * (max(vocabulary.values()) + 1)
    for token, i in vocabulary.items():
        tokens[i] = token
    special = [i for i, added in tokenizer.get_added_tokens_decoder().items() if added.special]
    return tuple(tokens), tuple(sorted(special))


def load_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer.json with padding and truncation off; raises :class:`ModelError` if it is not one."""
    if not path.is_file():
        slow = [name for name in SLOW if (path.parent / name).is_file()]
        found = f" ({path.parent} has a slow tokenizer's {', '.join(slow)})" if slow else ""
        raise ModelError(
            f"{path} does not exist{found}; a fast tokenizer's tokenizer.json is needed: AutoTokenizer."
            "from_pretrained(FOLDER).save_pretrained(FOLDER) of transformers writes one"
        )
    tokenizer = parse_tokenizer(path.read_bytes(), str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def parse_tokenizer(content: bytes, source: str) -> Tokenizer:
    """The tokenizer of a tokenizer.json's bytes, padding and truncation as it has them.

    Raises :class:`ModelError` that names ``source`` if it is not one.
    """
    try:
        return Tokenizer.from_buffer(content)
    except Exception as problem:  # noqa: BLE001 - tokenizers raises bare Exception
        raise ModelError(f"{source} is not a tokenizer.json: {problem}") from None


def read_idf(path: Path) -> dict[str, float]:
    """idf.json as a dict; raises :class:`ModelError` for anything but finite numbers above 0."""
    return check_idf(read_json(path, ModelError), str(path))


def check_idf(weights: Any, source: str) -> dict[str, float]:
    """The parsed idf.json ``weights``; raises :class:`ModelError` for anything but finite numbers above 0."""
    if not isinstance(weights, dict) or not weights:
        raise ModelError(f"{source} must be a flat JSON object of token: weight; run: osparse idf")
    bad = [(t, w) for t, w in weights.items() if type(w) not in (int, float) or not math.isfinite(w) or w <= 0]
    if bad:
        raise ModelError(
            f"{source}: {len(bad)} weights are not numbers above 0, for example {dict(bad[:3])}; run: osparse idf"
        )
    return weights
