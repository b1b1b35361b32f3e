"""The tokenizer that transformers builds from a folder, as a tokenizer.json.

Since version 5, transformers builds a tokenizer of a known class anew: lower-casing, accents and special tokens are
tokenizer_config.json's, whatever tokenizer.json says. What it builds is what the model was trained and is used with.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers

from osparse.errors import ModelError
from osparse.formula.lexicon import load_tokenizer
from osparse.masked_lm.quiet import quiet_transformers

log = logging.getLogger("osparse.packager.tokenizer.library")
UNLIMITED = 1_000_000
"""From here on a model_max_length says that there is none; transformers writes 1e30."""
_PARTS = ("added_tokens", "normalizer", "pre_tokenizer", "post_processor", "model")


@dataclass(frozen=True)
class LibraryTokenizer:
    """A tokenizer as transformers builds it."""

    content: str
    """tokenizer.json without truncation and padding."""
    max_length: int | None
    """Ids that it cuts a text to; None for no limit."""

    def load(self) -> Tokenizer:
        return Tokenizer.from_str(self.content)


def read_library_tokenizer(
    folder: Path, arguments: Mapping[str, Any] | None = None, *, lower_case: bool = False
) -> LibraryTokenizer:
    """The tokenizer of a folder.

    Args:
        arguments: of ``AutoTokenizer.from_pretrained``.
        lower_case: put a Lowercase normalizer first, where sentence-transformers would.

    Raises:
        ModelError: the folder has no tokenizer.json, transformers cannot read it, or it cuts texts at their start.
    """
    file = load_tokenizer(folder / "tokenizer.json")
    built = _build(folder, dict(arguments or {}))
    if built.truncation_side != "right":
        raise ModelError(
            f"{folder}: its tokenizer has the truncation_side {built.truncation_side!r}, required is right: the server "
            "and osparse cut at the end; set it to right in tokenizer_config.json if no text is over-long"
        )
    backend: Tokenizer = Tokenizer.from_str(built.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    changed = _differences(backend, file)
    if changed:
        log.warning(
            "%s: transformers builds another tokenizer than tokenizer.json says (%s), by its class and "
            "tokenizer_config.json; what transformers builds is packaged",
            folder,
            ", ".join(changed),
        )
    chosen = backend if changed else file
    if lower_case and not _lowers(chosen.normalizer):
        before = [chosen.normalizer] if chosen.normalizer is not None else []
        chosen.normalizer = normalizers.Sequence([normalizers.Lowercase(), *before])
    limit = built.model_max_length
    return LibraryTokenizer(chosen.to_str(), int(limit) if limit < UNLIMITED else None)


def _build(folder: Path, arguments: dict[str, Any]) -> Any:
    from transformers import AutoTokenizer

    try:
        with quiet_transformers():
            built = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **arguments)
    except Exception as problem:  # noqa: BLE001 - transformers and tokenizers raise bare Exception
        first = str(problem).strip().partition("\n")[0]
        raise ModelError(
            f"{folder}: transformers cannot build its tokenizer from tokenizer.json and tokenizer_config.json "
            f"({type(problem).__name__}: {first}); save the tokenizer again with transformers"
        ) from None
    if not hasattr(built, "backend_tokenizer"):
        raise ModelError(
            f"{folder}: transformers reads its tokenizer as {type(built).__name__}, which has no tokenizer.json; "
            "save it as a fast tokenizer"
        )
    return built


def _differences(built: Tokenizer, file: Tokenizer) -> list[str]:
    one, other = (json.loads(tokenizer.to_str()) for tokenizer in (built, file))
    return [part for part in _PARTS if one.get(part) != other.get(part)]


def _lowers(normalizer: Any) -> bool:
    """Whether sentence-transformers finds a Lowercase normalizer and adds none."""
    parts: Any = normalizer if isinstance(normalizer, normalizers.Sequence) else [normalizer]
    return any(isinstance(part, normalizers.Lowercase) for part in parts)
