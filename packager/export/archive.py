"""Zips whose bytes depend on their content alone: sorted names, one date, one mode, no compression.

Nothing is compressed because zlib's output differs between its builds, and weights hardly shrink.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from osparse.contracts.bundle import BundleFile
from osparse.contracts.zip_members import MAX_UNPACKED
from osparse.errors import BundleError
from osparse.io.files import sha256_file

_DATE = (1980, 1, 1, 0, 0, 0)


def write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    """Write ``members`` at the root of a zip; equal members, equal bytes."""
    total = sum(len(data) for data in members.values())
    if total > MAX_UNPACKED:
        raise BundleError(f"{path.name} would hold {total:,} bytes; the server refuses models of {MAX_UNPACKED:,}")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            archive.writestr(info, members[name])


def write_encoder(
    folder: Path, name: str, model: bytes, shared: Mapping[str, bytes], *, model_file: str, model_format: str
) -> BundleFile:
    """encoder.<name>.zip, to register as SPARSE_ENCODING; ``shared`` holds tokenizer.json and idf.json."""
    path = folder / f"encoder.{name}.zip"
    write_zip(path, {model_file: model, "LICENSE": license_text(), **shared})
    return BundleFile(path.name, sha256_file(path), path.stat().st_size, "SPARSE_ENCODING", model_format)


def write_tokenizer(folder: Path, shared: Mapping[str, bytes]) -> BundleFile:
    """The zip to register as SPARSE_TOKENIZE; the server wants a model_format for it too."""
    path = folder / "tokenizer.zip"
    write_zip(path, shared)
    return BundleFile(path.name, sha256_file(path), path.stat().st_size, "SPARSE_TOKENIZE", "TORCH_SCRIPT")


def license_text() -> bytes:
    """Apache-2.0, which comes with osparse."""
    return (files("osparse.packager.export") / "LICENSE").read_bytes()
