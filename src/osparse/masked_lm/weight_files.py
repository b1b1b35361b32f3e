"""The files that hold the weights of a transformers folder."""

from __future__ import annotations

from pathlib import Path

from osparse.errors import ModelError
from osparse.io.files import read_json

WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""In the order of preference; a .bin is read as weights only, never as a pickle of anything else."""


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights; raises :class:`ModelError` if there is none or a part is missing."""
    for name in WEIGHTS:
        path = folder / name
        if path.is_file() and name.endswith(".index.json"):
            raw = read_json(path, ModelError)
            names = sorted(set(raw.get("weight_map", {}).values())) if isinstance(raw, dict) else []
            parts = [folder / part for part in names]
            missing = [part.name for part in parts if not part.is_file()]
            if missing or not parts:
                raise ModelError(
                    f"{path} names {len(missing)} files that are not there, like {missing[:1]}; fetch them"
                )
            return [path, *parts]
        if path.is_file():
            return [path]
    raise ModelError(f"{folder} has no weights: one of {', '.join(WEIGHTS)} is needed; fetch the folder again")
