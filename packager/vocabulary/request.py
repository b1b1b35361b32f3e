"""What ``package`` is asked to trim: a number of tokens, or a file of tokens; checked before any weight is loaded."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osparse.contracts.model import Model
from osparse.errors import InputError
from osparse.io.files import fingerprint, read_text
from osparse.packager.checkpoint.checkpoints import ForeignCheckpoint
from osparse.packager.vocabulary.subword.tokenizer_file import TokenizerFile

if TYPE_CHECKING:
    from osparse.contracts.dataset import Dataset

KEEP = "keep:"
"""Before the name of a file of tokens, one a line."""


@dataclass(frozen=True)
class VocabularyRequest:
    """The tokens that a bundle is to have, at most ``size`` or those of a file."""

    size: int | None
    listed: tuple[str, ...]
    """Tokens of the file; none where a size is given."""
    model: str
    """Fingerprint of the model with its whole vocabulary."""
    dataset: Dataset

    def identity(self) -> dict[str, Any]:
        """What the manifest says: an equal request for an equal model gives an equal bundle."""
        asked = {"size": self.size} if self.size is not None else {"keep": fingerprint({"tokens": sorted(self.listed)})}
        return {**asked, "model": self.model, "dataset": self.dataset.fingerprint}


def read_request(asked: int | str | None, model: Model, dataset: Dataset | None) -> VocabularyRequest | None:
    """The request of ``32768``, ``"32768"`` or ``"keep:FILE"``; None for None.

    Raises:
        InputError: it is neither, there is no dataset, the size is not within the vocabulary, the file has no tokens
            or one that the model does not have, or the model's tokenizer cannot be trimmed.
    """
    if asked is None:
        return None
    size, listed = _size(asked), _listed(asked)
    if size is None and not listed:
        raise InputError(f"`vocabulary` must be a number of tokens or {KEEP}FILE (one token a line), got {asked!r}")
    if dataset is None:
        raise InputError(
            f"`vocabulary={asked}` needs `dataset`: which tokens a corpus needs, and what trimming loses, is measured "
            "on one; make it with: osparse corpus build"
        )
    tokens = {token for token in model.lexicon.tokens if token}
    if size is not None and not 1 <= size <= len(tokens):
        raise InputError(f"`vocabulary={size}` is not within 1 to {len(tokens):,}, the tokens of {model.path}")
    _require_known(listed, tokens, str(asked))
    source = model.path / "tokenizer.json"
    content = model.tokenizer.encode() if isinstance(model, ForeignCheckpoint) else source.read_bytes()
    TokenizerFile(content, str(source))
    return VocabularyRequest(size, listed, model.fingerprint, dataset)


def _size(asked: int | str) -> int | None:
    text = str(asked).replace("_", "")
    return int(text) if text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() else None


def _listed(asked: int | str) -> tuple[str, ...]:
    """The distinct tokens of ``keep:FILE``; none for anything else."""
    if not isinstance(asked, str) or not asked.startswith(KEEP):
        return ()
    path = Path(asked.removeprefix(KEEP))
    if not path.is_file():
        raise InputError(f"`vocabulary={asked}`: {path} is not a file; write the tokens to stay there, one a line")
    try:
        lines = [line.removesuffix("\r") for line in read_text(path).split("\n")]
    except UnicodeDecodeError as problem:
        raise InputError(f"`vocabulary={asked}`: {path} is not UTF-8 ({problem.reason}); save it as UTF-8") from None
    listed = tuple(dict.fromkeys(line for line in lines if line))
    if not listed:
        raise InputError(f"`vocabulary={asked}`: {path} lists no token; write the tokens to stay there, one a line")
    return listed


def _require_known(listed: Collection[str], tokens: Collection[str], asked: str) -> None:
    unknown = [token for token in listed if token not in tokens]
    if unknown:
        raise InputError(
            f"`vocabulary={asked}`: {len(unknown)} of {len(listed)} tokens are not the model's, like {unknown[:3]}; "
            "write raw tokens as tokenizer.json has them (##s, ▁the, Ġthe)"
        )
