"""docs/bundle.md names every field of a real manifest, and no field that does not exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import saved_worlds

from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.opensearch_versions import TARGETS
from osparse.packager import package
from osparse.packager.checkpoint.saved_settings import Setting
from osparse.packager.checkpoint.saved_settings_table import SETTINGS

ROOT = Path(__file__).parents[2]
ELSEWHERE = {
    "quantization.*", "source.query_weights.from", "source.query_weights.missing*", "source.ignored",
    "checks.reference.*", "seen.*", "source.alarms", "trimming.*",
    "head.keep_own", "head.own_share", "head.network_length", "source.seismic.*",
}  # fmt: skip
"""Fields of a quantised or trimmed bundle, of another's checkpoint, of a model that a run has written, of a head that
keeps own tokens, or of a bundle that `osparse tune` made."""


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key.replace(".", "_")))
    else:
        yield ".".join(path)


def documented() -> list[str]:
    text = (ROOT / "docs" / "bundle.md").read_text(encoding="utf-8").partition("## manifest.json")[2]
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def test_every_field_of_the_manifest_is_documented(bundle: Bundle) -> None:
    found = list(leaves(json.loads((bundle.path / "manifest.json").read_text(encoding="utf-8"))))
    fields = documented()
    assert len(fields) == len(set(fields))
    assert [name for name in found if not any(_is(name, field) for field in fields)] == []
    gone = [field for field in fields if not any(_is(name, field) for name in found)]
    assert [field for field in gone if not any(fnmatchcase(field, one) for one in ELSEWHERE)] == []


def test_every_field_of_a_checkpoints_manifest_is_documented(tmp_path: Path) -> None:
    root = saved_worlds.symmetric(saved_worlds.bert(tmp_path / "base"), tmp_path / "model")
    saved_worlds.edit(root / "config_sentence_transformers.json", lambda raw: raw.update(novelty=1))
    made = package(root, tmp_path / "bundle", ["onnx"], ignore=["novelty"])
    found = list(leaves(json.loads((made.path / "manifest.json").read_text(encoding="utf-8"))))
    assert "source.ignored" in found and "checks.reference.texts" in found
    assert [name for name in found if not any(_is(name, field) for field in documented())] == []


def test_every_field_of_a_trimmed_manifest_is_documented(model: Model, dataset: Dataset, tmp_path: Path) -> None:
    names = set[str]()
    (tmp_path / "keep.txt").write_text("배\n", encoding="utf-8")
    for asked in ("300", f"keep:{tmp_path / 'keep.txt'}"):
        made = package(model, tmp_path / asked[:4], ["onnx"], dataset=dataset, vocabulary=asked)
        names |= {name for name in leaves(made.manifest()) if name.startswith("trimming.")}
    fields = [field for field in documented() if field.startswith("trimming.")]
    assert [name for name in names if not any(_is(name, field) for field in fields)] == []
    assert [field for field in fields if not any(_is(name, field) for name in names)] == []


def _is(name: str, field: str) -> bool:
    return name.count(".") == field.count(".") and fnmatchcase(name, field)


def test_the_table_of_targets_is_the_one_in_the_code() -> None:
    text = (ROOT / "docs" / "bundle.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([23]\.[^|]*) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([^|]*) \| ([^|]*) \|$", text, re.M)
    seen = []
    for versions, *runtime, fields, analyzers in rows:
        first, last = (
            (re.findall(r"\d\.\d+", versions) * 2)[:2] if " " not in versions else re.findall(r"\d\.\d+", versions)
        )
        every = list(TARGETS)
        for version in every[every.index(first) : every.index(last) + 1]:
            seen.append(version)
            target = TARGETS[version]
            assert [target.libtorch, target.onnxruntime, target.tokenizers] == runtime
            assert ", ".join(target.field_types) == fields.strip()
            assert (", ".join(target.analyzers) or "-") == analyzers.strip()
    assert seen == list(TARGETS)


def test_the_table_of_settings_is_the_one_in_the_code() -> None:
    text = (ROOT / "docs" / "bundle.md").read_text(encoding="utf-8").partition("### Settings")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line[:3] == "| `"]
    shown = [
        (file.strip("`"), key, becomes, why) for file, keys, becomes, why in rows for key in re.findall("`(.+?)`", keys)
    ]
    assert shown == [(row.file, row.key, _becomes(row), row.why) for row in SETTINGS]


def _becomes(row: Setting) -> str:
    if row.becomes == "refused" and row.key != "(the file)":
        return f"refused unless {row.requires}"
    return f"{row.becomes} ({row.requires})" if row.requires and row.becomes == "baked in" else row.becomes
