"""Folders of whole files, on this machine or in an object store: listed, read, written and deleted by name.

A local folder is a path; any other location is a URL such as ``s3://bucket/prefix`` or ``gs://bucket/prefix``, which
fsspec opens. A file is whole or absent: locally it is renamed into place, and an object store shows an object only
when its upload has ended.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any, Protocol

from osparse.errors import InputError, MissingExtraError, OsparseError
from osparse.io.files import write_atomic

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://.+")
_TAIL = 65_536
"""Bytes of a file's end that are read first."""


class FileFolder(Protocol):
    """A flat folder of files; names have no slash."""

    location: str

    def names(self) -> list[str]:
        """Of the files, sorted; none where the folder does not exist."""

    def read(self, name: str) -> bytes:
        """The whole content; raises :class:`InputError` where it cannot be read."""

    def read_end(self, name: str, count: int) -> bytes:
        """The last ``count`` bytes, or the whole file if it is shorter."""

    def write(self, name: str, content: bytes) -> None:
        """Make or replace a file, whole or not at all; raises :class:`OsparseError`."""

    def delete(self, name: str) -> None:
        """Remove a file; one that does not exist is no error."""


def is_url(location: str) -> bool:
    """Whether a location is a URL and not a path of this machine."""
    return _URL.fullmatch(location) is not None


def open_folder(location: str | Path) -> FileFolder:
    """The folder at a path or a URL; it is made when the first file is written.

    Raises:
        InputError: a file where the folder should be, or a URL of a kind that fsspec does not know.
        MissingExtraError: a URL, and fsspec or its driver is not installed.
    """
    if is_url(str(location)):
        return _RemoteFolder(str(location))
    return _LocalFolder(Path(str(location).removeprefix("file://")))


class _LocalFolder:
    def __init__(self, path: Path) -> None:
        self.path, self.location = path, str(path)
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file, and a folder is required; choose another path")

    def names(self) -> list[str]:
        if not self.path.is_dir():
            return []
        return sorted(entry.name for entry in self.path.iterdir() if entry.is_file())

    def read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as problem:
            raise _unreadable(self.path / name, problem) from None

    def read_end(self, name: str, count: int) -> bytes:
        try:
            with (self.path / name).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - count))
                return file.read()
        except OSError as problem:
            raise _unreadable(self.path / name, problem) from None

    def write(self, name: str, content: bytes) -> None:
        write_atomic(self.path / name, content)

    def delete(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)


class _RemoteFolder:
    def __init__(self, url: str) -> None:
        self.location = url.rstrip("/")
        self._files, self._root = _file_system(self.location)

    def names(self) -> list[str]:
        try:
            self._files.invalidate_cache()
            entries = self._files.ls(self._root, detail=True)
        except FileNotFoundError:
            return []
        except Exception as problem:  # noqa: BLE001 - each driver raises its own classes
            raise _unreadable(self.location, problem) from None
        return sorted(str(entry["name"]).rsplit("/", 1)[-1] for entry in entries if entry["type"] == "file")

    def read(self, name: str) -> bytes:
        try:
            return bytes(self._files.cat_file(self._path(name)))
        except Exception as problem:  # noqa: BLE001 - each driver raises its own classes
            raise _unreadable(f"{self.location}/{name}", problem) from None

    def read_end(self, name: str, count: int) -> bytes:
        try:
            return bytes(self._files.tail(self._path(name), count))
        except Exception as problem:  # noqa: BLE001 - each driver raises its own classes
            raise _unreadable(f"{self.location}/{name}", problem) from None

    def write(self, name: str, content: bytes) -> None:
        try:
            self._files.makedirs(self._root, exist_ok=True)
            self._files.pipe_file(self._path(name), content)
        except Exception as problem:  # noqa: BLE001 - each driver raises its own classes
            raise OsparseError(f"cannot write {self.location}/{name}: {problem or type(problem).__name__}") from None

    def delete(self, name: str) -> None:
        try:
            self._files.rm_file(self._path(name))
        except FileNotFoundError:
            pass
        except Exception as problem:  # noqa: BLE001 - each driver raises its own classes
            raise OsparseError(f"cannot delete {self.location}/{name}: {problem or type(problem).__name__}") from None

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def _file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the path in it."""
    try:
        fsspec = importlib.import_module("fsspec.core")
    except ImportError:
        raise MissingExtraError(f"{url} needs fsspec; install it with: pip install 'osparse[cloud]'") from None
    try:
        files, path = fsspec.url_to_fs(url)
    except ImportError as problem:
        raise MissingExtraError(f"{url}: {problem}; install its driver, or: pip install 'osparse[cloud]'") from None
    except ValueError as problem:
        raise InputError(f"{url} cannot be opened: {problem}") from None
    return files, str(path).rstrip("/")


def _unreadable(place: object, problem: Exception) -> InputError:
    said = problem.strerror if isinstance(problem, OSError) else None
    return InputError(f"{place} cannot be read: {said or str(problem) or type(problem).__name__}")


def parquet_footer(folder: FileFolder, name: str) -> bytes:
    """The end of a Parquet file: its metadata, its length and the mark ``PAR1``; enough to read the metadata.

    Raises:
        InputError: the file is not a whole Parquet file.
    """
    end = folder.read_end(name, _TAIL)
    length = int.from_bytes(end[-8:-4], "little") + 8
    if len(end) < 12 or end[-4:] != b"PAR1" or length < 9:
        raise InputError(f"{folder.location}/{name} is not a whole Parquet file; delete it and run the command again")
    if length > len(end):
        end = folder.read_end(name, length)
    return end[-length:]
