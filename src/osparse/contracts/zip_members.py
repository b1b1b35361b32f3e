"""The members of a bundle's zip: plain files at its root, each once, of a sane size."""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from pathlib import Path, PurePosixPath

from osparse.errors import BundleError

MAX_UNPACKED = 4_000_000_000
"""Bytes one zip may unpack to; the server refuses models of 4 GB."""
MAX_RATIO = 100
"""Times its own size that one zip may unpack to; osparse writes its own uncompressed, others' hardly shrink."""


def read_member(archive: Path, name: str) -> bytes:
    """One file at the root of a zip of the bundle; raises :class:`BundleError` for anything unsafe or broken."""
    with open_zip(archive) as opened:
        try:
            return opened.read(name)
        except KeyError:
            raise BundleError(f"{archive} has no {name}; run: osparse package") from None
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as problem:
            # RuntimeError: encrypted, or compressed in a way zipfile does not know
            raise BundleError(f"{archive} is corrupt: {problem}; run: osparse package") from None


def open_zip(archive: Path) -> zipfile.ZipFile:
    """Open a zip whose members are plain files at its root and unpack to a sane size."""
    try:
        opened = zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, OSError) as problem:
        raise BundleError(f"{archive} is not a readable zip: {problem}; run: osparse package") from None
    infos = opened.infolist()
    unsafe = [i.filename for i in infos if not _is_plain(i)]
    names = [i.filename for i in infos]
    unsafe += sorted(name for name, times in Counter(names).items() if times > 1)
    if unsafe:
        opened.close()
        raise BundleError(f"{archive}: only plain files at the root, each once, are allowed; found {unsafe[:3]}")
    size = sum(i.file_size for i in infos)
    if size > min(MAX_UNPACKED, MAX_RATIO * archive.stat().st_size):
        opened.close()
        raise BundleError(
            f"{archive} would unpack to {size:,} bytes, more than {MAX_UNPACKED:,} or {MAX_RATIO} times its own size"
        )
    return opened


def _is_plain(info: zipfile.ZipInfo) -> bool:
    name = info.filename
    link = (info.external_attr >> 16) & 0o170000 == 0o120000
    return PurePosixPath(name).name == name and name != ".." and not link and not any(c in name for c in "\\:")
