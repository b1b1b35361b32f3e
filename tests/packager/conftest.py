"""A tool to take a bundle apart and put it together again."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from osparse.contracts.bundle import Bundle, BundleFile
from osparse.io.files import fingerprint, sha256_file
from osparse.packager.export.archive import write_zip


@pytest.fixture
def rewrite() -> Callable[..., None]:
    """Replaces members of a bundle's zips and makes its manifest agree, as someone who tampers would."""

    def change(folder: Path, members: dict[str, bytes | None], keys: list[str], **manifest: Any) -> None:
        raw = json.loads((folder / "manifest.json").read_text())
        for key in keys:
            path = folder / raw["files"][key]["name"]
            with zipfile.ZipFile(path) as archive:
                held = {name: archive.read(name) for name in archive.namelist()}
            held |= {name: data for name, data in members.items() if data is not None}
            write_zip(path, {name: data for name, data in held.items() if members.get(name, b"") is not None})
            raw["files"][key] |= {"sha256": sha256_file(path), "size": path.stat().st_size}
        raw |= manifest
        raw["probes_sha256"] = sha256_file(folder / "probes.jsonl")
        files = {key: BundleFile(**row) for key, row in raw["files"].items()}
        raw["fingerprint"] = fingerprint({**{k: f.sha256 for k, f in files.items()}, "probes": raw["probes_sha256"]})
        (folder / "manifest.json").write_text(json.dumps(raw))
        Bundle.open(folder)

    return change
