"""From a configuration's name or file, changes to it and the paths of its inputs to a checked :class:`TrainConfig`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from osparse.errors import ConfigError, InputError
from osparse.io.settings import read_raw, read_settings
from osparse.trainer.config.named_config import config_file
from osparse.trainer.config.run_config import TrainConfig

HOW_TO_MAKE = {
    "tokenizer": "osparse corpus tokenizer DATASET --output TOKENIZER (in Python osparse.corpus.train_tokenizer)",
    "idf": "osparse idf DATASET --tokenizer TOKENIZER --output IDF.json (in Python osparse.corpus.compute_idf)",
}


@dataclass(frozen=True, kw_only=True)
class GivenPaths:
    """Inputs that are given beside the configuration, before its overrides; None leaves the configuration's."""

    start: Path | str | None = None
    """``encoder.start``."""
    tokenizer: Path | str | None = None
    idf: Path | str | None = None

    def overrides(self) -> list[str]:
        """The same as ``key=value``."""
        keys = {"start": "encoder.start"}
        given = {keys.get(name, name): path for name, path in asdict(self).items() if path is not None}
        return [f"{key}={json.dumps(str(path), ensure_ascii=False)}" for key, path in given.items()]


def read_config(
    config: TrainConfig | Path | str, overrides: Sequence[str] = (), paths: GivenPaths | None = None
) -> TrainConfig:
    """A checked configuration; ``config`` may be the name of a packaged one.

    Raises :class:`ConfigError` with every problem, :class:`InputError` for changes to a configuration object.
    """
    changes = [*(paths.overrides() if paths else ()), *overrides]
    if not isinstance(config, TrainConfig):
        return _read(config_file(config), changes)
    if changes:
        raise InputError("`overrides` change a YAML file; pass dataclasses.replace(config, ...) instead")
    return config


def missing_inputs(
    config: Path | str, overrides: Sequence[str] = (), paths: GivenPaths | None = None
) -> tuple[set[str], Path | None]:
    """Which of "tokenizer" and "idf" are not set and do not follow from ``encoder.start``; the tokenizer's folder.

    A tokenizer that a checkpoint lacks cannot be made anew, and is not among them.
    """
    raw, _ = read_raw(config_file(config), [*(paths.overrides() if paths else ()), *overrides])
    complete(raw)
    missing = {name for name in HOW_TO_MAKE if name not in raw}
    if _start(raw) is not None and "tokenizer" in missing:
        return set(), None
    tokenizer = raw.get("tokenizer")
    return missing, Path(tokenizer) if isinstance(tokenizer, str) else None


def complete(raw: dict[str, Any]) -> None:
    """Tokenizer and IDF table follow from ``encoder.start`` where they are not set and its folder has them."""
    start = _start(raw)
    if start is None:
        return
    if "tokenizer" not in raw and (start / "tokenizer.json").is_file():
        raw["tokenizer"] = str(start)
    if "idf" not in raw and raw.get("tokenizer") == str(start) and (start / "idf.json").is_file():
        raw["idf"] = str(start / "idf.json")


def _read(path: Path, changes: Sequence[str]) -> TrainConfig:
    try:
        return read_settings(TrainConfig, path, changes, complete)
    except ConfigError as error:
        raise ConfigError(error.source, [_with_command(problem) for problem in _causes(error.problems)]) from None


def _causes(problems: Sequence[str]) -> list[str]:
    """Without the tokenizer and IDF table that a missing start would bring with it."""
    if not any(problem.startswith("encoder.start, factory or sizes") for problem in problems):
        return [*problems]
    consequences = tuple(f"{name}: missing" for name in HOW_TO_MAKE)
    return [problem for problem in problems if not problem.startswith(consequences)]


def _with_command(problem: str) -> str:
    for name, command in HOW_TO_MAKE.items():
        if problem.startswith(f"{name}: missing"):
            return f"{name}: missing; give it as `{name}`, made by: {command}"
    return problem


def _start(raw: dict[str, Any]) -> Path | None:
    encoder = raw.get("encoder")
    start = encoder.get("start") if isinstance(encoder, dict) else None
    return Path(start) if isinstance(start, str) and start else None
