"""Reading source files as streams: whatever the compression, with the place of everything that is wrong."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from osparse.errors import DatasetError
from osparse.files import json_object
from osparse.progress import Bar, progress

MAX_LINE = 64 * 2**20
"""Bytes. A longer line is a broken file (or another format), and would not fit in memory if it went on."""
_MAGIC: dict[bytes, str] = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_HTML = (b"<!doctype html", b"<html")
FETCH_AGAIN = "fetch the file again, and compare its size and checksum with the publisher's"


class _Counted(io.RawIOBase):
    """The file as it lies on disk; what is read of it moves the bar."""

    def __init__(self, file: BinaryIO, bar: Bar) -> None:
        self._file, self._bar = file, bar

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = cast(io.BufferedReader, self._file).readinto(buffer)
        self._bar.advance(count)
        return count


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file's content as bytes, decompressed by what it is and not by its name (gzip, bzip2, xz, zstd).

    Raises:
        DatasetError: the path is no file, is empty, or holds an HTML page; inside the block: compressed data that ends
            early or is damaged, with how far into the file.
    """
    try:
        if not path.is_file():
            raise DatasetError(f"{path} {'is not a file' if path.exists() else 'does not exist'}")
        size = path.stat().st_size
        if not size:
            raise DatasetError(f"{path} is empty (0 bytes); {FETCH_AGAIN}")
        with path.open("rb") as file, progress(f"reading {path.name}", size, "bytes") as bar:
            head = file.read(512)
            file.seek(0)
            if head.lstrip().lower().startswith(_HTML):
                raise DatasetError(f"{path}:1: this is an HTML page, not data (an error page?); {FETCH_AGAIN}")
            kind = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")
            try:
                yield _decompressed(io.BufferedReader(_Counted(file, bar), 1 << 20), kind)
            except (EOFError, zlib.error, lzma.LZMAError) as problem:
                raise DatasetError(_broken(path, kind, file.tell(), size, problem)) from None
            except OSError as problem:
                if problem.errno is not None or not kind:
                    raise
                raise DatasetError(_broken(path, kind, file.tell(), size, problem)) from None
    except OSError as problem:
        raise DatasetError(f"{path} cannot be read: {problem.strerror or problem}") from None


def _decompressed(raw: io.BufferedReader, kind: str) -> BinaryIO:
    if kind == "gzip":
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    if kind == "bzip2":
        return cast(BinaryIO, io.BufferedReader(bz2.BZ2File(raw), 1 << 20))
    if kind == "xz":
        return cast(BinaryIO, io.BufferedReader(lzma.LZMAFile(raw), 1 << 20))
    if kind == "zstd":
        stream = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
        return cast(BinaryIO, io.BufferedReader(stream, 1 << 20))
    return cast(BinaryIO, raw)


def _broken(path: Path, kind: str, at: int, size: int, problem: Exception) -> str:
    return f"{path}: the {kind} data is cut off or damaged near byte {at:,} of {size:,} ({problem}); {FETCH_AGAIN}"


def lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """(``path:line``, the line without its end), blank ones left out; raises :class:`DatasetError` past MAX_LINE."""
    with opened(path) as file:
        number = offset = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise DatasetError(
                    f"{path}:{number}: a line of more than {MAX_LINE:,} bytes, beginning at byte {offset:,}; "
                    "one row per line is wanted"
                )
            offset += len(line)
            if line.strip():
                yield f"{path}:{number}", line.rstrip(b"\r\n")


def decoded(line: bytes, where: str) -> str:
    """As UTF-8; raises :class:`DatasetError` saying which byte is not."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as problem:
        found = line[problem.start]
        raise DatasetError(
            f"{where}: not UTF-8: byte 0x{found:02x} at position {problem.start}; convert the file: iconv -t UTF-8"
        ) from None


def json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(``path:line``, object) of a JSON lines file; raises :class:`DatasetError` at the first line that is none."""
    for where, line in lines(path):
        yield where, json_object(line, where, DatasetError)


def json_values(path: Path) -> Iterator[tuple[str, Any]]:
    """(``path:line``, value) of a file with one JSON value per line, arrays as well as objects."""
    for where, line in lines(path):
        if line.lstrip().startswith(b"{"):
            yield where, json_object(line, where, DatasetError)
            continue
        try:
            yield where, json.loads(line)
        except (ValueError, RecursionError) as problem:
            raise DatasetError(f"{where}: not JSON: {problem}") from None
