"""Zips on this machine, as opensearch-py-ml or a download leaves them: which is which, and what their JSON file says.

opensearch-py-ml writes a zip and beside it ``ml-commons_model_config.json``; OpenSearch's pretrained models are
published the same way, with ``config.json``.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from osparse.contracts.imported import PARTS, ImportedModel, ImportedPart, make_part
from osparse.errors import CheckError, InputError
from osparse.io.files import sha256_file
from osparse.packager.checks.emulator import SUFFIXES
from osparse.packager.imported.zip_contents import model_members

HASH, SIZE = "model_content_hash_value", "model_content_size_in_bytes"


def from_files(given: Path, query_model: Path | None = None) -> Callable[[Path], ImportedModel]:
    """What copies a zip, or the zips of a folder, into an empty folder, for :func:`osparse.packager.import_model`.

    Args:
        query_model: zip of the tokenizer model of its queries.

    Raises:
        InputError: there is no zip, more than one of a kind, or one of another kind of model.
        CheckError: a zip is not the one that its JSON file describes.
    """

    def copy(folder: Path) -> ImportedModel:
        configs = _configs(given)
        parts: dict[str, ImportedPart] = {}
        for path in [*_zips(given), *([query_model] if query_model is not None else [])]:
            kind = _function_name(path, configs.get(path, {}))
            part = PARTS[kind]
            if part in parts:
                raise InputError(
                    f"{path} is a {kind} zip, and so is {parts[part].name}; import one {part} at a time by its zip"
                )
            if query_model == path and part != "tokenizer":
                raise InputError(f"`query_model={path}` holds a model file, required is a zip of a tokenizer alone")
            parts[part] = _copied(path, folder / f"{part}.zip", kind, configs.get(path, {}))
        notes = () if "tokenizer" in parts else ("no query model: `query_model` names its zip",)
        return ImportedModel(folder, parts.get("encoder"), parts.get("tokenizer"), notes)

    return copy


def _zips(given: Path) -> list[Path]:
    if (given / "manifest.json").is_file():
        raise InputError(f"{given} is a bundle of osparse; check it with: osparse verify {given}")
    if not given.exists():
        raise InputError(f"{given} does not exist; give a zip, a folder of zips, or a model's id with its cluster")
    zips = [given] if given.is_file() else sorted(given.glob("*.zip"))
    if not zips:
        raise InputError(f"{given} holds no zip; give the folder or the zip that was registered")
    return zips


def _configs(given: Path) -> dict[Path, dict[str, Any]]:
    """Zip -> the JSON file beside it that describes it; raises :class:`CheckError` where only another is described."""
    folder = given.parent if given.is_file() else given
    zips, described = sorted(folder.glob("*.zip")), dict[Path, dict[str, Any]]()
    hashes = {sha256_file(path): path for path in ([given] if given.is_file() else zips)}
    for path, config in _described(folder):
        owner = hashes.get(str(config[HASH]))
        if owner is None and len(zips) == 1:
            raise CheckError(
                f"{path} describes a zip of {config.get(SIZE, '?')} bytes with sha256 {str(config[HASH])[:12]}.., "
                f"{zips[0].name} has {zips[0].stat().st_size} bytes and {next(iter(hashes))[:12]}..; export it again"
            )
        if owner is not None:
            described[owner] = {**config, "file": path.name}
            _require_size(owner, config, path)
    return described


def _described(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            config = json.loads(path.read_bytes())
        except ValueError:
            continue  # of somebody else: a tokenizer.json that is cut off is no description of a zip
        if isinstance(config, dict) and HASH in config:
            found.append((path, config))
    return found


def _require_size(zip_path: Path, config: Mapping[str, Any], path: Path) -> None:
    size = zip_path.stat().st_size
    if SIZE in config and config[SIZE] != size:
        raise CheckError(f"{path} says {config[SIZE]} bytes, {zip_path.name} has {size}; export it again")


def _function_name(path: Path, config: Mapping[str, Any]) -> str:
    stated = str(config.get("function_name", "")).upper()
    if stated and stated not in PARTS:
        raise InputError(f"{path} is a {stated} model, and osparse imports {' and '.join(PARTS)} models")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is not a zip; fetch or export it again")
    return stated or ("SPARSE_ENCODING" if model_members(path) else "SPARSE_TOKENIZE")


def _copied(path: Path, target: Path, kind: str, config: Mapping[str, Any]) -> ImportedPart:
    shutil.copyfile(path, target)
    formats = [form for form, suffix in SUFFIXES.items() if any(n.endswith(suffix) for n in model_members(target))]
    model_format = str(config.get("model_format") or (formats[0] if formats else "TORCH_SCRIPT"))
    origin = {"file": path.name, **{key: config[key] for key in ("name", "version") if key in config}}
    return make_part(target, kind, model_format, origin=origin, config=dict(config))
