"""What lies in a zip that another tool made, and the tools that make such."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from osparse.contracts.imported import ImportedPart
from osparse.contracts.zip_members import open_zip, read_member
from osparse.encoders.onnx_encoder import read_tokenizer
from osparse.errors import BundleError
from osparse.formula.lexicon import MIN_WEIGHT, Lexicon, vocabulary_of
from osparse.formula.query_encoder import QueryEncoder
from osparse.packager.checks.emulator import SUFFIXES

OWN_ENCODERS = ({"model.pt", "LICENSE"}, {"model.onnx", "LICENSE"})
SHARED = {"idf.json", "tokenizer.json"}
SERVER_DEFAULT = 1.0
"""Query weight of a token that idf.json lacks, or of every token without idf.json."""


@dataclass(frozen=True)
class ZipContents:
    """The files of one zip that a server reads."""

    names: tuple[str, ...]
    tokenizer: Tokenizer
    """With its own truncation, at most 512, and no padding."""
    raw_tokenizer: Tokenizer
    """As the server decodes with it."""
    tokens: tuple[str, ...]
    length: int
    """Ids that a text is cut to, special ones included."""
    model_type: str
    """Of the tokenizer: WordPiece, BPE, Unigram or WordLevel."""
    idf: dict[str, float] | None
    """None without idf.json."""

    @classmethod
    def read(cls, archive: Path) -> ZipContents:
        """Raises :class:`BundleError` for a zip that is unsafe or broken, or lacks a tokenizer."""
        with open_zip(archive) as opened:
            names = tuple(sorted(opened.namelist()))
        if "tokenizer.json" not in names:
            raise BundleError(f"{archive} has no tokenizer.json at its root, without which the server deploys nothing")
        raw = json.loads(read_member(archive, "tokenizer.json"))
        tokenizer, tokens, length = read_tokenizer(archive)
        idf = _idf(archive) if "idf.json" in names else None
        untouched = Tokenizer.from_str(json.dumps(raw))
        return cls(names, tokenizer, untouched, tokens, length, str(raw.get("model", {}).get("type")), idf)

    @property
    def special_ids(self) -> tuple[int, ...]:
        return vocabulary_of(self.tokenizer)[1]

    def query_encoder(self) -> QueryEncoder:
        """The formula's query weights with this tokenizer and idf.json."""
        known = {token for token in self.tokens if token}
        weights = {token: weight for token, weight in (self.idf or {}).items() if token in known}
        weights = {**dict.fromkeys(known, SERVER_DEFAULT), **{t: max(w, MIN_WEIGHT) for t, w in weights.items()}}
        lexicon = Lexicon.build(self.tokens, self.special_ids, weights)
        return QueryEncoder(Tokenizer.from_str(self.tokenizer.to_str()), lexicon, max_length=self.length)


def model_members(archive: Path) -> list[str]:
    """The files at the root that the server may take for a model."""
    with open_zip(archive) as opened:
        return [name for name in opened.namelist() if name.endswith(tuple(SUFFIXES.values()))]


def layout_of(contents: ZipContents, part: ImportedPart) -> str:
    """Which tool writes zips with such files, in words."""
    names = set(contents.names)
    models = {name for name in names if name.endswith(tuple(SUFFIXES.values()))}
    if not models:
        return "tokenizer and query weights" if names >= SHARED else "a tokenizer alone"
    if any(names == SHARED | own for own in OWN_ENCODERS):
        return "osparse package"
    if names - {"LICENSE"} == models | {"tokenizer.json"} and len(models) == 1:
        published = str(part.origin.get("name")).startswith("amazon/neural-sparse/")
        return "OpenSearch's pretrained list, by its name" if published else "opensearch-py-ml"
    return "another tool"


def _idf(archive: Path) -> dict[str, float]:
    """Flat {string: number}; weights that no query may have are for a check to find."""
    try:
        raw: Any = json.loads(read_member(archive, "idf.json"))
        return {str(token): float(weight) for token, weight in raw.items()}
    except (AttributeError, TypeError, ValueError) as problem:
        raise BundleError(f"{archive}: idf.json is not a flat map of token: weight ({problem})") from None
