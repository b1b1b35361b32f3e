"""A hub id instead of a folder: fetched once into Hugging Face's cache, then a folder like any other."""

from __future__ import annotations

import re
from pathlib import Path

from osparse.errors import ModelError
from osparse.plugins.extras import require

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
PATTERNS = ("*.json", "*.safetensors", "pytorch_model*.bin", "*.txt", "README.md", "LICENSE*", "*.model")
"""What is fetched: no code, no other frameworks' weights."""


def local(given: Path | str) -> tuple[Path, str]:
    """The folder of ``given``, and its name or its whole hub id.

    ``given`` is a folder, or ``owner/name[@revision]`` of the Hugging Face hub.

    Raises :class:`ModelError` if it is neither, or cannot be fetched.
    """
    path, text = Path(given), str(given)
    if path.exists() or not _ID.fullmatch(text) or path.parent.is_dir():
        return path, path.resolve().name
    repository, _, revision = text.partition("@")
    return _snapshot(repository, revision or None), text


def _snapshot(repository: str, revision: str | None) -> Path:
    hub = require("huggingface_hub", "train")
    errors = require("huggingface_hub.errors", "train")
    try:
        return Path(hub.snapshot_download(repository, revision=revision, allow_patterns=list(PATTERNS)))
    except (
        errors.HfHubHTTPError,
        errors.LocalEntryNotFoundError,
        errors.HFValidationError,
        OSError,
        ValueError,
    ) as problem:
        first = str(problem).strip().partition("\n")[0]
        raise ModelError(
            f"{repository} is no folder here, and the Hugging Face hub could not give it ({type(problem).__name__}: "
            f"{first}); where the hub is not reached, copy the model's folder here and give its path"
        ) from None
