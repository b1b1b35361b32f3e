"""Reading source files as streams: whatever the compression, with the place of everything that is wrong."""

from __future__ import annotations

import bz2
import codecs
import gzip
import importlib
import io
import json
import lzma
import shlex
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, cast

from osparse.errors import DatasetError
from osparse.io.files import json_object, without_bom
from osparse.io.locations import RemotePath
from osparse.io.progress import Bar, progress

MAX_LINE = 64 * 2**20
"""Bytes. A longer line is a broken file (or another format), and would not fit in memory if it went on."""
_MAGIC: dict[bytes, str] = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_HTML = (b"<!doctype html", b"<html")
SUFFIXES = ("", ".gz", ".bz2", ".xz", ".zst")
STANDARD_INPUT = Path("-")
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


def find(folder: Path, name: str) -> Path | None:
    """A file of a folder, as it is named or compressed; None if it is not there."""
    return next((folder / (name + suffix) for suffix in SUFFIXES if (folder / (name + suffix)).is_file()), None)


@contextmanager
def as_files(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """The paths, with a temporary copy of each pipe, address and of standard input, for what is read more than once."""
    with tempfile.TemporaryDirectory(prefix="osparse-") as folder:
        files = []
        for number, path in enumerate(paths):
            if is_stream(path) or isinstance(path, RemotePath):
                copy = Path(folder) / str(number) / ("stdin" if path == STANDARD_INPUT else path.name)
                copy.parent.mkdir()
                with _raw(path) as source, copy.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                path = copy
            files.append(path)
        yield files


def is_stream(path: Path) -> bool:
    """Standard input (``-``), a named pipe or a process substitution: what can be read once, from start to end."""
    return path == STANDARD_INPUT or path.is_fifo() or path.is_char_device()


def shown(path: Path) -> str:
    """How messages name the path."""
    return "standard input" if path == STANDARD_INPUT else str(path)


@contextmanager
def opened(path: Path, *, may_be_empty: bool = False, bar: bool = True) -> Iterator[BinaryIO]:
    """A file's content as bytes, decompressed by what it is and not by its name, without a byte order mark.

    Args:
        path: A file (plain, gzip, bzip2, xz or zstd), an address, a pipe, or ``-`` for standard input.
        may_be_empty: Whether no bytes at all are an empty file and not a broken one.
        bar: Show the progress.

    Raises:
        DatasetError: the path is no file, is empty, or holds an HTML page; inside the block: compressed data that ends
            early or is damaged, with how far into the file.
    """
    try:
        if not path.is_file() and not is_stream(path):
            raise DatasetError(f"{path} {'is not a file' if path.exists() else 'does not exist'}")
        size = _size(path)
        progress_bar = progress(f"reading {path.name}", size, "bytes") if bar else nullcontext(Bar("", None, ""))
        with _raw(path) as file, progress_bar as counted:
            raw: io.BufferedReader = io.BufferedReader(_Counted(file, counted), 1 << 20)
            head = raw.peek(512)
            if not head and not may_be_empty:
                raise DatasetError(f"{shown(path)} is empty (0 bytes); {FETCH_AGAIN}")
            if head[:512].lstrip().lower().startswith(_HTML):
                raise DatasetError(f"{shown(path)}:1: this is an HTML page, not data (an error page?); {FETCH_AGAIN}")
            kind = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")
            damage = (EOFError, zlib.error, lzma.LZMAError, *([_zstd().ZstdError] if kind == "zstd" else []))
            try:
                yield _past_bom(_decompressed(raw, kind))
            except damage as problem:
                raise DatasetError(_broken(path, kind, counted.done, size, problem)) from None
            except OSError as problem:
                if problem.errno is not None or not kind:
                    raise
                raise DatasetError(_broken(path, kind, counted.done, size, problem)) from None
    except OSError as problem:
        raise DatasetError(f"{shown(path)} cannot be read: {problem.strerror or problem}") from None


def _size(path: Path) -> int | None:
    if isinstance(path, RemotePath):
        return path.size
    return None if is_stream(path) else path.stat().st_size


def _raw(path: Path) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if path == STANDARD_INPUT else path.open("rb")


def _past_bom(file: io.BufferedReader) -> BinaryIO:
    head = file.peek(len(codecs.BOM_UTF8))[: len(codecs.BOM_UTF8)]
    file.read(len(head) - len(without_bom(head)))
    return cast(BinaryIO, file)


def _decompressed(raw: io.BufferedReader, kind: str) -> io.BufferedReader:
    if kind == "gzip":
        return io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=raw)), 1 << 20)
    if kind == "bzip2":
        return io.BufferedReader(cast(io.RawIOBase, bz2.BZ2File(raw)), 1 << 20)
    if kind == "xz":
        return io.BufferedReader(cast(io.RawIOBase, lzma.LZMAFile(raw)), 1 << 20)
    if kind == "zstd":
        return io.BufferedReader(cast(io.RawIOBase, _zstd().ZstdFile(raw)), 1 << 20)
    return raw


def _zstd() -> ModuleType:
    """The standard library's module from Python 3.14 on, before that its backport."""
    return importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def _broken(path: Path, kind: str, at: int, size: int | None, problem: Exception) -> str:
    of = "" if size is None else f" of {size:,}"
    return f"{shown(path)}: the {kind} data is cut off or damaged near byte {at:,}{of} ({problem}); {FETCH_AGAIN}"


def lines(path: Path, *, may_be_empty: bool = False, bar: bool = True) -> Iterator[tuple[str, bytes]]:
    """(``path:line``, the line without its end), blank ones left out; raises :class:`DatasetError` past MAX_LINE."""
    with opened(path, may_be_empty=may_be_empty, bar=bar) as file:
        yield from lines_of(file, shown(path))


def lines_of(file: BinaryIO, name: str) -> Iterator[tuple[str, bytes]]:
    """:func:`lines` of a file that is open; ``name`` is what messages call it."""
    number = offset = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise DatasetError(
                f"{name}:{number}: a line of more than {MAX_LINE:,} bytes, beginning at byte {offset:,}; "
                "one row per line is required"
            )
        offset += len(line)
        if (line := without_bom(line)).strip():  # files that were joined have a mark each
            yield f"{name}:{number}", line.rstrip(b"\r\n")


def decoded(line: bytes, where: str) -> str:
    """As UTF-8; raises :class:`DatasetError` saying which byte is not, and how to convert the file."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as problem:
        byte, kind = line[problem.start], _likely_encoding(line)
        path = Path(where.rpartition(":")[0])
        files = f" {shlex.quote(str(path))} > {shlex.quote(path.stem)}.utf8{path.suffix}" if path.is_file() else ""
        raise DatasetError(
            f"{where}: not UTF-8: byte 0x{byte:02x} at position {problem.start}; it looks like {kind}, so convert the "
            f"file: iconv -f {kind} -t UTF-8{files}"
        ) from None


def _likely_encoding(line: bytes) -> str:
    """What spreadsheets write beside UTF-8: UTF-16, the Korean code page, or the Western European one."""
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    others = [character for character in line.decode("cp949", errors="replace") if not character.isascii()]
    hangul = sum("가" <= character <= "힣" for character in others)
    return "CP949" if 2 * hangul > len(others) else "WINDOWS-1252"


def json_rows(path: Path, *, may_be_empty: bool = False, bar: bool = True) -> Iterator[tuple[str, dict[str, Any]]]:
    """(``path:line``, object) of a JSON lines file; raises :class:`DatasetError` at the first line that is none."""
    for where, line in lines(path, may_be_empty=may_be_empty, bar=bar):
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
