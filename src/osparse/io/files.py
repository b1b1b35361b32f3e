"""Files and folders that are whole or not there: atomic writes, checksums, canonical JSON, JSON lines."""

from __future__ import annotations

import codecs
import errno
import hashlib
import json
import logging
import math
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from osparse.errors import InputError, OsparseError

_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
_WRONG_KIND = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.EBUSY)
"""A file in place of a folder or the other way round, or a mount point, which cannot be replaced."""

log = logging.getLogger("osparse.io.files")


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


def without_bom(data: bytes) -> bytes:
    """``data`` without the byte order mark that some programs write before UTF-8 text.

    Everything that is read as text goes through here: a mark that stays is part of the first id or key.
    """
    return data.removeprefix(codecs.BOM_UTF8)


def read_text(path: Path, errors: str = "strict") -> str:
    """A whole UTF-8 file; raises OSError and, with ``errors`` as "strict", UnicodeDecodeError."""
    return without_bom(path.read_bytes()).decode("utf-8", errors)


def read_json(path: Path, error: type[InputError] = InputError) -> Any:
    """Parse a JSON file; raise ``error`` naming the file, line and column when it cannot be read or is not JSON."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise error(f"{path} does not exist") from None
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror}; give the path of a JSON file") from None
    return parse_json(content, str(path), error)


def parse_json(content: bytes, source: str, error: type[InputError] = InputError) -> Any:
    """Parse the UTF-8 bytes of a JSON file; raise ``error`` naming ``source``, line and column if they are not JSON."""
    try:
        return json.loads(without_bom(content).decode("utf-8"))
    except (ValueError, RecursionError) as problem:
        raise error(f"{source} is not JSON: {problem}") from None


def read_jsonl(path: Path, error: type[InputError] = InputError) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSON lines file; blank lines are skipped.

    Raises ``error`` for a path that cannot be read, and with the path and line number for a line that is not UTF-8
    JSON or not an object, holds NaN, an infinity (also as a number too large, like 1e999), or half of a surrogate pair.
    """
    try:
        if not path.is_file():
            raise error(f"{path} is not a file")
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, json_object(without_bom(line), f"{path}:{number}", error)
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror}") from None


def json_object(line: bytes, where: str, error: type[InputError]) -> dict[str, Any]:
    """One line as a JSON object; raises ``error`` that begins with ``where``, as :func:`read_jsonl` says."""
    try:
        row = json.loads(line, parse_constant=_refuse_constant, parse_float=_finite)
        if b"\\ud" in line.lower():
            canonical_json(row).encode()
    except (ValueError, RecursionError) as problem:
        hint = "; this looks like an HTML page, not data" if line.lstrip().startswith(b"<") else ""
        raise error(f"{where}: not JSON: {problem}{hint}") from None
    if not isinstance(row, dict):
        raise error(f"{where}: expected a JSON object, found {type(row).__name__}")
    return row


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"the number {number} is too large")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write ``content`` beside ``path`` and rename it there, so that a reader never sees half of it.

    A file that is replaced keeps its permissions, a new one has those that the umask leaves; where ``path`` is a
    symbolic link, the file that it names is written.
    """
    with _writing(path):
        goal = _behind_link(path)
        goal.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        temporary = _temporary(goal)
        try:
            with open(temporary, "xb") as file:
                _keep_mode(goal, temporary)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, goal)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _behind_link(path: Path) -> Path:
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _temporary(goal: Path) -> Path:
    """A free name beside ``goal``; tempfile's functions would not ask the umask."""
    return goal.parent / f".{goal.name}.{secrets.token_hex(6)}"


def _keep_mode(old: Path, new: Path) -> None:
    if old.exists():
        os.chmod(new, stat.S_IMODE(old.stat().st_mode))


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Say a full disk, a missing permission or a path of the wrong kind as one sentence."""
    try:
        yield
    except OSError as problem:
        if problem.errno in _WRONG_KIND:
            raise InputError(f"cannot write {target}: {problem}; nothing was left there, choose another path") from None
        if problem.errno in _CANNOT_WRITE or "os error 28" in str(problem):
            raise OsparseError(f"cannot write {target}: {problem}; nothing was left there") from None
        raise


@contextmanager
def atomic_directory(target: Path, *, marker: str, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder that becomes ``target`` if the block ends well, and vanishes if it does not.

    Args:
        target: Permissions and symbolic links are treated as :func:`write_atomic` does.
        marker: a file that every directory of the kind holds, by which ``overwrite`` knows what it may replace.

    Raises:
        InputError: ``target`` holds something and ``overwrite`` is false, or it is not of the kind; ``target``, or a
            folder above it, is a file.
        OsparseError: no space, or no permission.
    """
    with _writing(target):
        require_replaceable(target, marker, overwrite)
        goal = _behind_link(target)
        goal.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(goal)
        temporary.mkdir()
        try:
            yield temporary
            _keep_mode(goal, temporary)
            _move(temporary, goal)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def require_replaceable(target: Path, marker: str, overwrite: bool) -> None:
    """Raises :class:`InputError` as :func:`atomic_directory` does: before long work whose result it would refuse."""
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError(f"{target} is a file, and a folder is to be written there; choose another `output`")
    if not any(target.iterdir()):
        return
    if not overwrite:
        raise InputError(f"{target} exists and is not empty; choose another `output`, or pass `overwrite=True`")
    if not (target / marker).is_file():
        raise InputError(
            f"{target} holds something else (it has no {marker}), which `overwrite=True` does not replace; "
            "choose another `output`, or remove the folder yourself"
        )


def _move(temporary: Path, target: Path) -> None:
    """Rename ``temporary`` to ``target``; what was there goes, but comes back if the rename fails."""
    if not target.exists():
        os.replace(temporary, target)
        return
    old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old."))
    try:
        os.replace(target, old / "old")
        try:
            os.replace(temporary, target)
        except BaseException:
            os.replace(old / "old", target)
            raise
    except BaseException:
        if not any(old.iterdir()):
            old.rmdir()
        raise
    shutil.rmtree(old, ignore_errors=True)
    if old.exists():
        log.warning("%s is written; what was there before could not be removed from %s", target, old)


def output_folder(output: Path | str | None, names: Sequence[str], overwrite: bool) -> Path | None:
    """The folder that a command writes files of these names into; nothing is made yet.

    Raises :class:`InputError` where it is a file, or holds one of the files of another run and may not be overwritten.
    """
    if output is None:
        return None
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; `output` must be a folder")
    for name in names:
        require_free(folder / name, overwrite)
    return folder


def require_free(target: Path, overwrite: bool, holds: str = "") -> None:
    """Raises :class:`InputError` where the file ``target`` exists and may not be replaced.

    ``holds``: what would be lost with it, such as "judgements".
    """
    if target.exists() and not overwrite:
        lost = f" and may hold {holds}" if holds else ""
        raise InputError(f"{target} exists{lost}; pass `overwrite=True` to replace it, or another `output`")
