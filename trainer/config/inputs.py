"""The inputs of a run: read, checked and fingerprinted. Imports no torch."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import LEXICAL_TABLE
from osparse.errors import ConfigError, ModelError
from osparse.formula.lexicon import Lexicon
from osparse.io.files import fingerprint, read_json, sha256_file
from osparse.masked_lm.weight_files import weight_files
from osparse.plugins.dotted_paths import source_of
from osparse.plugins.extras import require
from osparse.trainer.config.all_problems import AllProblems
from osparse.trainer.config.dataset_needs import require_candidates, require_splits, without_validation
from osparse.trainer.config.read_config import GivenPaths, read_config
from osparse.trainer.config.run_config import Ranking, TrainConfig

log = logging.getLogger("osparse.trainer.config.inputs")
RECIPE = 4
"""Raised when the same configuration would train another model."""
_LOOP_MATTERS = ("precision", "compile")
"""Settings of ``loop`` that change a model beyond the order of a sum."""
HELD_BACK = ("validation", "test", "all")
"""Splits of an IDF table or of trends that hold documents on which models are measured."""
_BESIDE_WEIGHTS = (
    "tokenizer.json", "idf.json", "osparse.json", LEXICAL_TABLE, "modules.json", "1_Pooling/config.json",
)  # fmt: skip
"""Other files that determine a teacher's scores: a sparse one's query weights and head, a dense one's pooling."""


@dataclass(frozen=True)
class Inputs:
    """The inputs of a run, which were checked to fit each other."""

    config: TrainConfig
    dataset: Dataset
    lexicon: Lexicon
    made_from: dict[str, Any]
    """Fingerprints of everything that makes the model."""
    idf: dict[str, Any]
    """Provenance of the query weights."""
    languages: tuple[str, ...]
    """Of the training split's judged queries and documents, sorted."""
    languages_not_trained: tuple[str, ...]
    """Languages that ``encoder.start`` was trained or measured in and that are not among :attr:`languages`."""

    @property
    def has_start(self) -> bool:
        """Whether training begins from weights that exist, so that they can be measured."""
        return self.config.encoder.start is not None or self.config.encoder.factory is not None

    @property
    def dataset_sources(self) -> tuple[str, ...]:
        """Fingerprints of the datasets that this one was derived from."""
        return sources_of(self.dataset)

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
    config: TrainConfig | Path | str,
    dataset: Dataset | Path | str,
    overrides: Sequence[str] = (),
    paths: GivenPaths | None = None,
) -> Inputs:
    """Read and check the arguments of :func:`train`, and take the fingerprints. Imports no torch.

    Raises the one problem there is, or :class:`ConfigError` with all of them.
    """
    with AllProblems(str(config) if isinstance(config, str | Path) else "the configuration") as problems:
        with problems.collected():
            config = read_config(config, overrides, paths)
        with problems.collected():
            dataset = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    if not isinstance(config, TrainConfig) or not isinstance(dataset, Dataset):
        raise TypeError("problems that were collected are raised at the end of the block")
    config = without_validation(config, dataset)
    lexicon, idf = None, {}
    made_from: dict[str, Any] = {"config": _without_places(config), "dataset": dataset.fingerprint}
    with AllProblems("the inputs") as problems:
        with problems.collected():
            lexicon = Lexicon.open(config.tokenizer / "tokenizer.json", config.idf)
            made_from |= {"tokenizer": sha256_file(config.tokenizer / "tokenizer.json"), "idf": sha256_file(config.idf)}
        with problems.collected():
            require_splits(dataset)
            require_candidates(config, dataset)
        with problems.collected():
            _refuse_what_knows_validation(config, dataset)
        with problems.collected():
            idf = idf_provenance(config.idf, dataset.fingerprint, sources_of(dataset))
        with problems.collected():
            made_from["start"] = _start_fingerprint(config)
        with problems.collected():
            made_from["teachers"] = _teachers(config)
        with problems.collected():
            made_from["own_code"] = _own_code(config)
        with problems.collected():
            if config.loop.tensorboard:
                require("tensorboard", "tensorboard")
    languages = training_languages(dataset)
    not_trained = tuple(sorted(start_languages(config.encoder.start) - {*languages})) if config.encoder.start else ()
    if lexicon is None:
        raise TypeError("problems that were collected are raised at the end of the block")
    return Inputs(config, dataset, lexicon, {**made_from, "recipe": RECIPE}, idf, languages, not_trained)


def sources_of(dataset: Dataset) -> tuple[str, ...]:
    """Fingerprints of the datasets that a mined, scored or retrained dataset was made from; they share its texts."""
    notes = dataset.manifest.notes
    mined_from = notes.get("mined_from")
    return tuple(dict.fromkeys([*notes.get("derived_from", ()), *([mined_from] if mined_from else [])]))


def training_languages(dataset: Dataset) -> tuple[str, ...]:
    """Languages of the training split's judged queries and documents, sorted."""
    judged = dataset.qrels("train").filter(pl.col("score") > 0)
    parts = [
        texts.join(judged.select(id=column).unique(), on="id", how="semi").select("lang")
        for texts, column in ((dataset.documents, "document_id"), (dataset.queries, "query_id"))
    ]
    languages = pl.concat(parts).unique().collect(engine="streaming")["lang"].to_list()
    return tuple(sorted(language for language in languages if language))


def start_languages(start: Path) -> frozenset[str]:
    """Languages that a model directory of osparse was trained or measured in; none for another checkpoint."""
    description = _description(start)
    directions = [name.split(",")[0] for name in description.get("metrics", {}).get("directions", {})]
    measured = {language for name in directions for language in name.split("->")}
    return frozenset({*measured, *description.get("training", {}).get("languages", ())} - {""})


def _description(folder: Path) -> dict[str, Any]:
    """osparse.json of a model directory; empty for another folder."""
    path = folder / "osparse.json"
    content = read_json(path) if path.is_file() else {}
    return content if isinstance(content, dict) else {}


def _refuse_what_knows_validation(config: TrainConfig, dataset: Dataset) -> None:
    """Raises :class:`ConfigError` if a start or teacher was trained on the validation split, which selects here."""
    if config.validation.trained_on:
        return
    named = {"distillation.teachers": _teacher_paths(config)}
    if config.encoder.start is not None:
        named["encoder.start"] = [config.encoder.start]
    for where, folders in named.items():
        for folder in folders:
            description = _description(folder)
            training, metrics = description.get("training", {}), description.get("metrics", {})
            learnt_from = {training.get("dataset"), *training.get("derived_from", ())}
            if metrics.get("trained_on") and learnt_from & {dataset.fingerprint, *sources_of(dataset)}:
                problem = (
                    f"{folder} was trained on the validation split of this dataset, which selects the checkpoint here; "
                    "use a model that was not, or set validation.trained_on: true"
                )
                raise ConfigError(where, [problem])


def idf_provenance(idf: Path, dataset: str, sources: Collection[str] = ()) -> dict[str, Any]:
    """The content of idf.json's sibling idf.meta.json: where the query weights come from.

    Args:
        dataset: fingerprint of the dataset trained on.
        sources: fingerprints of the datasets it was derived from, which hold the same texts.

    Raises:
        ConfigError: the weights were counted on the validation or test split of that dataset, or follow its trends, or
            the file is broken.
    """
    meta = idf.with_name(f"{idf.stem}.meta.json")
    if not meta.is_file():
        return {"provenance": f"unknown: {idf.name} has no {meta.name} beside it"}
    note = read_json(meta)
    if not isinstance(note, dict):
        raise ConfigError("idf", [f"{meta} holds no JSON object; make it again with osparse idf and `overwrite=True`"])
    same = {dataset, *sources}
    if note.get("dataset") not in same:
        log.warning(
            "%s was counted on another dataset than is trained on; if that is not intended: osparse idf DATASET", idf
        )
    elif note.get("split") in HELD_BACK:
        problem = (
            f"{idf} was counted on the {note['split']} split of the dataset trained on, so measurements there would "
            'not be independent of it; make it with osparse idf and `split="train"`'
        )
        raise ConfigError("idf", [problem])
    trends = note.get("trends") or {}
    if trends.get("dataset") in same and trends.get("split") in HELD_BACK:
        problem = (
            f"{idf} follows trends of held-back documents of the dataset trained on (split {trends['split']}), so "
            "measurements there would not be independent of it; make them again with osparse corpus trends, without a "
            "split"
        )
        raise ConfigError("idf", [problem])
    return dict(note)


def _without_places(config: TrainConfig) -> dict[str, Any]:
    """The settings that determine the model: without paths, whose sha256 are recorded, and checkpoint intervals."""
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
    sources = {}
    with AllProblems("functions of your own") as problems:
        for where, path in named.items():
            with problems.collected():
                if path is not None:
                    sources[where] = source_of(path, where)
    return sources


def _start_fingerprint(config: TrainConfig) -> str | None:
    start = config.encoder.start
    return None if start is None else _weights(start, "encoder.start", "masked-LM", [LEXICAL_TABLE])


def _teachers(config: TrainConfig) -> list[str]:
    """Fingerprints of the folders that teachers are read from."""
    paths = _teacher_paths(config)
    return [_weights(path, "distillation.teachers", "teacher's", _BESIDE_WEIGHTS) for path in paths]


def _teacher_paths(config: TrainConfig) -> list[Path]:
    distillations = [stage.distillation for stage in config.stages if isinstance(stage, Ranking) and stage.distillation]
    return [
        teacher.path for distillation in distillations for teacher in distillation.teachers if teacher.path is not None
    ]


def _weights(folder: Path, where: str, kind: str, more: Sequence[str] = ()) -> str:
    """Fingerprint of the weights and of those files named in ``more`` that exist."""
    if not (folder / "config.json").is_file():
        raise ConfigError(where, [f"{folder} has no config.json; a {kind} folder is required"])
    try:
        weights = weight_files(folder)
    except ModelError as problem:
        raise ConfigError(where, [str(problem)]) from None
    others = [folder / name for name in ("config.json", *more) if (folder / name).is_file()]
    return fingerprint({path.name: sha256_file(path) for path in (*weights, *others)})
