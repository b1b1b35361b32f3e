"""The folder of an imported model: zips that another tool made, byte by byte as they serve, and where they are from.

    import.json
    encoder.zip      a SPARSE_ENCODING model
    tokenizer.zip    the SPARSE_TOKENIZE model of its queries

One of the two zips may be absent. Nothing in them is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from osparse.errors import BundleError
from osparse.io.files import pretty_json, read_json, sha256_file
from osparse.io.settings import checked

MARKER = "import.json"
"""The file by which a folder is known as an imported model."""
SCHEMA_VERSION = 1
PartName = Literal["encoder", "tokenizer"]
PARTS: Mapping[str, PartName] = {"SPARSE_ENCODING": "encoder", "SPARSE_TOKENIZE": "tokenizer"}
"""``function_name`` of a sparse model -> what it is in the folder."""


@dataclass(frozen=True)
class ImportedPart:
    """One zip, as ML Commons is told of it."""

    file: str
    sha256: str
    size: int
    """Bytes."""
    function_name: Literal["SPARSE_ENCODING", "SPARSE_TOKENIZE"]
    model_format: Literal["TORCH_SCRIPT", "ONNX"]
    origin: dict[str, Any] = field(default_factory=dict)
    """Where it is from: ``cluster``, ``model_id``, ``name``, ``version`` and ``state``, or ``file``."""
    config: dict[str, Any] = field(default_factory=dict)
    """``model_config`` and description that it was registered with, or the JSON file that lay beside the zip."""

    @property
    def name(self) -> str:
        """What it is called where it is from."""
        return str(self.origin.get("name") or self.origin.get("file") or self.file)


@dataclass(frozen=True)
class ImportedModel:
    """An imported folder that was opened; every zip has the size and sha256 that import.json says."""

    path: Path
    encoder: ImportedPart | None = None
    tokenizer: ImportedPart | None = None
    notes: tuple[str, ...] = ()
    """What the import could not settle, for example that no query model was found."""

    @classmethod
    def open(cls, path: Path | str) -> ImportedModel:
        """Raises :class:`BundleError` naming what is missing or differs."""
        path = Path(path)
        raw = read_json(path / MARKER, BundleError)
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA_VERSION:
            raise BundleError(
                f"{path}/{MARKER} is not that of an imported model (schema {SCHEMA_VERSION}); import it again"
            )
        own = {key: value for key, value in raw.items() if key != "schema"}
        imported, problems = checked(cls, {**own, "path": str(path)})
        if imported is None:
            raise BundleError(
                f"{path}/{MARKER} is not that of an imported model: {'; '.join(problems[:3])}; import it again"
            )
        problems = [problem for part in imported.parts.values() for problem in imported._problems(part)]
        if problems or not imported.parts:
            raise BundleError(
                f"{path} is not a whole import: {'; '.join(problems) or 'it has no zip'}; import it again"
            )
        return imported

    @property
    def parts(self) -> dict[str, ImportedPart]:
        """``encoder`` and ``tokenizer``, of those that there are."""
        named = {"encoder": self.encoder, "tokenizer": self.tokenizer}
        return {name: part for name, part in named.items() if part is not None}

    def zip_path(self, part: str) -> Path:
        return self.path / self.parts[part].file

    def save(self) -> None:
        """Write import.json beside the zips."""
        (self.path / MARKER).write_text(pretty_json(self.to_json()), encoding="utf-8")

    def to_json(self) -> dict[str, Any]:
        """What import.json says."""
        stated = {key: value for key, value in asdict(self).items() if key != "path" and value is not None}
        return {"schema": SCHEMA_VERSION, **stated}

    def _problems(self, part: ImportedPart) -> list[str]:
        path = self.path / part.file
        if PurePosixPath(part.file).name != part.file or path.is_symlink():
            return [f"{part.file!r} is not a plain file"]
        if not path.is_file():
            return [f"{part.file} is missing"]
        if (size := path.stat().st_size) != part.size:
            return [f"{part.file} has {size:,} bytes, {MARKER} says {part.size:,}"]
        if (sha256 := sha256_file(path)) != part.sha256:
            return [f"{part.file}: sha256 {sha256[:12]}.. does not match {MARKER}'s {part.sha256[:12]}.."]
        return []


def make_part(path: Path, function_name: Any, model_format: Any, **facts: dict[str, Any]) -> ImportedPart:
    """The part of a zip that lies in its folder already; ``facts`` are ``origin`` and ``config``."""
    return ImportedPart(path.name, sha256_file(path), path.stat().st_size, function_name, model_format, **facts)
