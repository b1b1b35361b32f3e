"""Where input is read from: files of this machine, patterns (``data/*.jsonl``), and addresses (``s3://``, ``gs://``,
``https://`` and whatever else fsspec opens).

An address is a path like any other: :func:`osparse.io.streams.opened` reads it as a stream. It is shown without its
query string and without user name and password, which may be secrets.
"""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PosixPath
from typing import Any
from urllib.parse import urlsplit

from osparse.errors import DatasetError, InputError, MissingExtraError

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*):/{1,2}(?=[^/])")
"""Two slashes are one where a path was made of an address."""
_PATTERN = re.compile(r"[*?\[]")
_WEB = ("http", "https")
"""Question marks are part of these addresses, and no server lists its files."""
_OTHER_PROBLEMS = {"aiohttp": "ClientError", "botocore.exceptions": "BotoCoreError", "gcsfs.retry": "HttpError"}
"""What libraries of fsspec raise that is no OSError."""


class RemotePath(PosixPath):
    """An address as a path: what :mod:`osparse.io.streams` asks of a path is answered by fsspec."""

    url: str

    def __new__(cls, url: str) -> RemotePath:
        made = super().__new__(cls, url)
        made.url = url
        return made

    def __reduce__(self) -> tuple[type[RemotePath], tuple[str]]:
        return RemotePath, (self.url,)

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def name(self) -> str:
        return str(self).rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix

    def exists(self, **_: Any) -> bool:
        return bool(self._asked(lambda system, path: system.exists(path)))

    def is_file(self, **_: Any) -> bool:
        return bool(self._asked(lambda system, path: system.isfile(path)))

    def is_dir(self, **_: Any) -> bool:
        return False

    def is_fifo(self) -> bool:
        return False

    def is_char_device(self) -> bool:
        return False

    def resolve(self, strict: bool = False) -> RemotePath:
        return self

    @property
    def size(self) -> int | None:
        """Bytes; None where the server does not say."""
        size = self._asked(lambda system, path: system.info(path).get("size"))
        return None if size is None else int(size)

    def open(self, mode: str = "r", *_: Any, **__: Any) -> Any:
        if mode != "rb":
            raise InputError(f"{self} can be read only")
        return self._asked(lambda system, path: system.open(path, "rb"))

    def matches(self) -> list[RemotePath]:
        """The files of an address with a pattern, in order of name."""
        scheme = self.url.partition("://")[0]
        names = self._asked(lambda system, path: system.glob(path))
        return [RemotePath(f"{scheme}://{str(name).lstrip('/')}") for name in sorted(names)]

    def _asked(self, ask: Callable[[Any, str], Any]) -> Any:
        with self._readable():
            from fsspec.core import url_to_fs  # late: few loads need it, and it is of an extra

            return ask(*url_to_fs(self.url))

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Raises :class:`DatasetError` for whatever stops fsspec."""
        try:
            yield
        except ImportError as problem:
            raise MissingExtraError(
                f"{self} cannot be read: {problem}; run: {sys.executable} -m pip install 'osparse[cloud]'"
            ) from None
        except _problems() as problem:
            said = str(problem).replace(self.url, str(self))
            raise DatasetError(f"{self} cannot be read: {type(problem).__name__}: {said}") from None


def _problems() -> tuple[type[Exception], ...]:
    """What fsspec and those of its libraries that are loaded raise."""
    loaded = [getattr(sys.modules[module], name) for module, name in _OTHER_PROBLEMS.items() if module in sys.modules]
    return (OSError, ValueError, *loaded)


def location(path: Path | str) -> Path:
    """A path, or a :class:`RemotePath` for an address."""
    text = str(path)
    if isinstance(path, RemotePath) or not (begin := _ADDRESS.match(text)) or Path(path).exists():
        return Path(path) if isinstance(path, str) else path
    return RemotePath(f"{begin[1]}://{text[begin.end() :]}")


def expanded(paths: Sequence[Path | str]) -> list[Path]:
    """Every path and address, and in the place of a pattern the files that it fits, in order of name.

    A file whose own name looks like a pattern is that file. ``**`` stands for any number of folders.

    Raises:
        InputError: nothing fits a pattern.
        DatasetError: an address that cannot be listed.
    """
    return [file for path in paths for file in _files(location(path))]


def _files(path: Path) -> list[Path]:
    if isinstance(path, RemotePath):
        if path.url.partition(":")[0] in _WEB or not _PATTERN.search(path.url):
            return [path]
        matches: list[Path] = [*path.matches()]
    elif not _PATTERN.search(str(path)) or path.exists():
        return [path]
    else:
        matches = [Path(name) for name in sorted(glob.glob(str(path), recursive=True)) if Path(name).is_file()]
    if not matches:
        raise InputError(f"no file fits the pattern {path}")
    return matches
