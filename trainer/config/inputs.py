"""What a run is made from, read, checked and fingerprinted. Imports no torch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, cast

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import LEXICAL_TABLE
from osparse.errors import ConfigError, InputError, ModelError
from osparse.formula.lexicon import Lexicon
from osparse.io.files import fingerprint, read_json, sha256_file
from osparse.io.settings import read_settings
from osparse.masked_lm.weight_files import weight_files
from osparse.plugins.dotted_paths import source_of
from osparse.plugins.extras import require
from osparse.trainer.config.run_config import Ranking, TrainConfig

log = logging.getLogger("osparse.trainer.config.inputs")
RECIPE = 3
"""Raised when the same configuration would train another model."""
_LOOP_MATTERS = ("precision", "compile")
"""What of ``loop`` changes a model beyond the order of a sum."""
_BESIDE_WEIGHTS = (
    "tokenizer.json", "idf.json", "osparse.json", LEXICAL_TABLE, "modules.json", "1_Pooling/config.json",
)  # fmt: skip
"""What else of a teacher's folder makes its scores: a sparse one's query weights and head, a dense one's pooling."""


@dataclass(frozen=True)
class Inputs:
    """What a run is made from, read and found to belong together."""

    config: TrainConfig
    dataset: Dataset
    lexicon: Lexicon
    made_from: dict[str, Any]
    """Fingerprints of everything that makes the model."""
    idf: dict[str, Any]
    """Provenance of the query weights."""

    @property
    def name(self) -> str:
        return fingerprint(self.made_from)

    @property
    def shown(self) -> dict[str, Any]:
        """The same with the whole configuration, for people to read."""
        return {**self.made_from, "config": named_config(self.config)}

    @property
    def tokenizer(self) -> Path:
        return self.config.tokenizer / "tokenizer.json"


def read_inputs(
    config: TrainConfig | Path | str, dataset: Dataset | Path | str, overrides: Sequence[str] = ()
) -> Inputs:
    """Read and check what :func:`train` is given, and take the fingerprints. Imports no torch."""
    if not isinstance(config, TrainConfig):
        config = read_settings(TrainConfig, Path(config), overrides)
    elif overrides:
        raise InputError("overrides change a YAML file; give dataclasses.replace(config, ...) instead")
    dataset = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    lexicon = Lexicon.open(config.tokenizer / "tokenizer.json", config.idf)
    _refuse_what_knows_validation(config, dataset)
    idf = idf_provenance(config.idf, dataset.fingerprint)
    if config.loop.tensorboard:
        require("tensorboard", "tensorboard")
    made_from = {
        "config": _without_places(config),
        "dataset": dataset.fingerprint,
        "tokenizer": sha256_file(config.tokenizer / "tokenizer.json"),
        "idf": sha256_file(config.idf),
        "start": _start_fingerprint(config),
        "teachers": _teachers(config),
        "own_code": _own_code(config),
        "recipe": RECIPE,
    }
    return Inputs(config, dataset, lexicon, made_from, idf)


def _refuse_what_knows_validation(config: TrainConfig, dataset: Dataset) -> None:
    """Raises :class:`ConfigError` for a start or a teacher that learnt from the split which is to choose here."""
    if config.validation.trained_on:
        return
    named = {"distillation.teachers": _teacher_paths(config)}
    if config.encoder.start is not None:
        named["encoder.start"] = [config.encoder.start]
    for where, folders in named.items():
        for folder in folders:
            found = read_json(folder / "osparse.json") if (folder / "osparse.json").is_file() else {}
            training, metrics = found.get("training", {}), found.get("metrics", {})
            if metrics.get("trained_on") and training.get("dataset") == dataset.fingerprint:
                problem = (
                    f"{folder} learnt from the validation split of this very dataset, which is to choose the "
                    "checkpoint here; take a model that did not, or set validation.trained_on: true"
                )
                raise ConfigError(where, [problem])


def idf_provenance(idf: Path, dataset: str) -> dict[str, Any]:
    """What idf.json's sibling idf.meta.json says of where the weights come from; says so when it is not there.

    Args:
        dataset: fingerprint of the dataset trained on.

    Raises:
        ConfigError: the weights were counted on the validation or test split of that dataset, or follow its trends, or
            the file is broken.
    """
    meta = idf.with_name(f"{idf.stem}.meta.json")
    if not meta.is_file():
        return {"provenance": f"unknown: {idf.name} came without {meta.name}"}
    found = read_json(meta)
    if not isinstance(found, dict):
        raise ConfigError("idf", [f"{meta} holds no JSON object; make it again with: osparse idf --overwrite"])
    if found.get("dataset") != dataset:
        log.warning(
            "%s was counted on another dataset than is trained on; if that is not meant: osparse idf DATASET", idf
        )
    elif found.get("split") in ("validation", "test", "all"):
        problem = (
            f"{idf} was counted on the {found['split']} split of this very dataset, so what is measured there would be "
            "known beforehand; make it with: osparse idf DATASET --split train"
        )
        raise ConfigError("idf", [problem])
    trends = found.get("trends") or {}
    if trends.get("dataset") == dataset and trends.get("split") in ("validation", "test", "all"):
        problem = (
            f"{idf} follows trends of held-back documents of this very dataset (split {trends['split']}), so what is "
            "measured there would be known beforehand; make them without --split: osparse corpus trends DATASET"
        )
        raise ConfigError("idf", [problem])
    return dict(found)


def _without_places(config: TrainConfig) -> dict[str, Any]:
    """What makes the model: no paths, as their sha256 stand beside, and not how often a checkpoint is written."""
    plain = named_config(config)
    plain["loop"] = {key: plain["loop"][key] for key in _LOOP_MATTERS}
    for key in ("tokenizer", "idf", "checkpoint_every"):
        del plain[key]
    del plain["encoder"]["start"]
    for stage in plain["stages"]:
        for teacher in (stage.get("distillation") or {}).get("teachers", ()):
            del teacher["path"]
    return plain


def named_config(config: TrainConfig) -> dict[str, Any]:
    """The whole configuration, with the names of files and folders in place of their paths."""
    return cast(dict[str, Any], _named(config))


def _named(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _named(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_named(item) for item in value]
    return value.resolve().name if isinstance(value, Path) else value


def _own_code(config: TrainConfig) -> dict[str, str]:
    """sha256 of the files of the user's own functions, by the setting that names them."""
    named = {"encoder.factory": config.encoder.factory}
    for number, stage in enumerate(config.stages):
        if isinstance(stage, Ranking):
            named[f"stages.{number}.loss"] = stage.loss
    return {where: source_of(path, where) for where, path in named.items() if path is not None}


def _start_fingerprint(config: TrainConfig) -> str | None:
    start = config.encoder.start
    return None if start is None else _weights(start, "encoder.start", "masked-LM", [LEXICAL_TABLE])


def _teachers(config: TrainConfig) -> list[str]:
    """Fingerprints of the folders that teachers are read from."""
    paths = _teacher_paths(config)
    return [_weights(path, "distillation.teachers", "teacher's", _BESIDE_WEIGHTS) for path in paths]


def _teacher_paths(config: TrainConfig) -> list[Path]:
    distillations = [stage.distillation for stage in config.stages if isinstance(stage, Ranking) and stage.distillation]
    return [teacher.path for one in distillations for teacher in one.teachers if teacher.path is not None]


def _weights(folder: Path, where: str, kind: str, more: Sequence[str] = ()) -> str:
    """Of the weights and what of ``more`` is there."""
    if not (folder / "config.json").is_file():
        raise ConfigError(where, [f"{folder} has no config.json; a {kind} folder is required"])
    try:
        weights = weight_files(folder)
    except ModelError as problem:
        raise ConfigError(where, [str(problem)]) from None
    there = [folder / name for name in ("config.json", *more) if (folder / name).is_file()]
    return fingerprint({path.name: sha256_file(path) for path in (*weights, *there)})
