"""Files and folders that are whole or not there: atomic writes, checksums, canonical JSON, JSON lines."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from osparse.errors import InputError, OsparseError

_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """One value, one text: sorted keys, no spaces, UTF-8 as it is."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: Any) -> str:
    """sha256 hex of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def pretty_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def read_json(path: Path, error: type[InputError] = InputError) -> Any:
    """Parse a JSON file; raise ``error`` naming the file, line and column when it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path} does not exist") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as problem:
        raise error(f"{path} is not JSON: {problem}") from None


def read_jsonl(path: Path, error: type[InputError] = InputError) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSON lines file; blank lines are skipped.

    Raises ``error`` with the path and line number for a line that is not UTF-8 JSON or not an object, holds NaN, an
    infinity, or half of a surrogate pair.
    """
    if not path.is_file():
        raise error(f"{path} is not a file")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, parse_constant=_refuse_constant)
                if b"\\ud" in line.lower():
                    canonical_json(row).encode()
            except (ValueError, RecursionError) as problem:
                hint = "; this looks like an HTML page, not data" if line.lstrip().startswith(b"<") else ""
                raise error(f"{path}:{number}: not JSON: {problem}{hint}") from None
            if not isinstance(row, dict):
                raise error(f"{path}:{number}: expected a JSON object, found {type(row).__name__}")
            yield number, row


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write ``content`` beside ``path`` and rename it there, so that a reader never sees half of it."""
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Say a full disk or a missing permission as one sentence."""
    try:
        yield
    except OSError as problem:
        if problem.errno in _CANNOT_WRITE or "os error 28" in str(problem):
            raise OsparseError(f"cannot write {target}: {problem}; nothing was left there") from None
        raise


@contextmanager
def atomic_directory(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder that becomes ``target`` if the block ends well, and vanishes if it does not.

    Raises :class:`InputError` when ``target`` exists with something in it and ``overwrite`` is false.
    """
    if target.exists() and not overwrite and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists and is not empty; choose another --output, or pass --overwrite")
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        os.chmod(temporary, 0o755)
        try:
            yield temporary
            if target.exists():
                old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old."))
                os.replace(target, old / "old")
                os.replace(temporary, target)
                shutil.rmtree(old)
            else:
                os.replace(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
