"""One training run, from a configuration and a dataset to a model directory. Imports torch only when there is work."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osparse.dataset import Dataset
from osparse.encoding import Head
from osparse.errors import ConfigError, InputError, ModelError
from osparse.extras import require
from osparse.files import fingerprint, pretty_json, sha256_file, write_atomic
from osparse.lexicon import Lexicon
from osparse.model import Model
from osparse.settings import read_settings, to_plain
from osparse.trainer.config import MaskedLm, Ranking, TrainConfig, WarmStart

if TYPE_CHECKING:
    from osparse.encoder import SparseEncoder
    from osparse.trainer.checkpoint import Progress
    from osparse.trainer.padding import Frame
    from osparse.trainer.records import Records
    from osparse.trainer.stage import Stage

log = logging.getLogger("osparse.trainer.run")
RECIPE = 1
"""Raised when the same configuration would train another model."""


def run_folder(output: Path) -> Path:
    """Where a run keeps its log and checkpoint: beside the output."""
    return output.with_name(f"{output.name}.run")


def train(
    config: TrainConfig | Path | str,
    dataset: Dataset | Path | str,
    output: Path | str,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
) -> Model:
    """Train an inference-free sparse encoder and write it as a model directory.

    Args:
        config: A YAML file (see configs/) or the configuration itself.
        dataset: With train and validation judgements; the test split is never read.
        output: Model directory to make. The run's log and checkpoint go to ``<output>.run``.
        overrides: ``key=value`` changes to the YAML, such as ``stages.ranking.lr=1e-4``.
        resume: Go on from the run's checkpoint; the result equals the uninterrupted run's to the bit on one machine.
        overwrite: Replace an output made from other inputs.

    Returns:
        The model; if the output was made from the same inputs before, that one, at once.

    Raises:
        ConfigError: every problem of the configuration together.
        DatasetError, ModelError: the inputs do not fit.
        CheckError: the loss became NaN or infinite; the last checkpoint is kept.
    """
    output = Path(output)
    if not isinstance(config, TrainConfig):
        config = read_settings(TrainConfig, Path(config), overrides)
    elif overrides:
        raise InputError("overrides change a YAML file; give dataclasses.replace(config, ...) instead")
    dataset = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    lexicon = Lexicon.open(config.tokenizer / "tokenizer.json", config.idf)
    inputs = {
        "config": _without_places(config),
        "dataset": dataset.fingerprint,
        "tokenizer": sha256_file(config.tokenizer / "tokenizer.json"),
        "idf": sha256_file(config.idf),
        "start": _start_fingerprint(config),
        "recipe": RECIPE,
    }
    name = fingerprint(inputs)
    if output.exists() and not overwrite and not (output.is_dir() and not any(output.iterdir())):
        if _made_from(output) == name:
            log.info("%s is up to date", output)
            return Model.open(output)
        raise InputError(f"{output} exists and was not made from these inputs; pass --overwrite or another --output")
    for module in ("torch", "transformers", "safetensors", "sklearn"):
        require(module, "train")
    return _train(config, dataset, lexicon, output, inputs, name, resume=resume)


def _train(
    config: TrainConfig,
    dataset: Dataset,
    lexicon: Lexicon,
    output: Path,
    inputs: dict[str, Any],
    name: str,
    *,
    resume: bool,
) -> Model:
    import torch

    from osparse.trainer.checkpoint import FOLDER, Progress, load_weights, read_progress
    from osparse.trainer.loop import Run, run_stages
    from osparse.trainer.output import idf_provenance, write_model
    from osparse.trainer.padding import Frame
    from osparse.trainer.records import read_records
    from osparse.trainer.runlog import RunLog
    from osparse.trainer.validation import Validation

    idf = idf_provenance(config.idf, dataset.fingerprint)  # before the work, as it may refuse the table
    folder = run_folder(output)
    progress = read_progress(folder, name) if resume else Progress(name)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    tokenizer = config.tokenizer / "tokenizer.json"
    validation = Validation(
        dataset, tokenizer, lexicon, distractors=config.validation.documents, seed=config.seed
    )  # fmt: skip
    records = read_records(dataset, tokenizer, lexicon)
    log.info("%d records, %d queries, languages %s", len(records), len(records.relevant), ", ".join(records.languages))
    encoder = new_encoder(config, lexicon).to("cuda" if torch.cuda.is_available() else "cpu")
    stages = _stages(config, encoder, records, lexicon, Frame.of(tokenizer))
    # The inputs are found good; only now may an earlier sitting's log and checkpoint go.
    if not resume:
        _drop_checkpoint(folder / FOLDER)
    shown = {**inputs, "config": _with_names(config)}
    run_log = RunLog(folder, keep=_before(progress) if resume else None)
    write_atomic(folder / "config.json", pretty_json(shown))
    run = Run(folder, encoder, stages, validation, config.validation.every, config.checkpoint_every, run_log)
    try:
        if not resume:
            _warm_start(config, encoder, records, lexicon)
        run_stages(run, progress, resume=resume)
    except BaseException:
        run_log.write("stopped")  # a monitor ends with it
        raise
    best = progress.best or {"stage": "warm_start", "step": 0, **validation.measure(encoder)}
    if progress.best_weights:  # none where there is no stage but the warm start
        load_weights(encoder, progress.best_weights)
    steps = sum(stage.steps for stage, _ in run.stages)
    training = {**shown, "fingerprint": name, "steps": steps, "seconds": round(run_log.seconds, 1)}
    model = write_model(
        output, encoder.cpu().eval(), tokenizer=config.tokenizer, lexicon=lexicon, idf=idf,
        training=training, metrics={"split": "validation", **best}, overwrite=True,
    )  # fmt: skip
    run_log.write("end", best=best)
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    log.info("%s: validation nDCG@10 %.4f, %.0f non-zeros", output, best["ndcg"], best["nonzeros"])
    return model


def new_encoder(config: TrainConfig, lexicon: Lexicon) -> SparseEncoder:
    """The encoder a run starts from.

    Raises :class:`ConfigError` if a checkpoint is not whole, or has too few vocabulary rows or positions.
    """
    from transformers import BertConfig, BertForMaskedLM

    from osparse.encoder import SparseEncoder

    size = config.encoder
    if size.start is not None:
        mlm = _started(config, size.start, lexicon)
        rows = mlm.get_output_embeddings().weight.shape[0]
    else:
        rows = len(lexicon.tokens)
        shape = BertConfig(
            vocab_size=rows, hidden_size=size.hidden, num_hidden_layers=size.layers, num_attention_heads=size.heads,
            intermediate_size=size.feed_forward, max_position_embeddings=512,
            hidden_dropout_prob=size.dropout, attention_probs_dropout_prob=size.dropout,
        )  # fmt: skip
        shape._attn_implementation = "sdpa"
        mlm = BertForMaskedLM(shape)
    unused = [i for i, token in enumerate(lexicon.tokens) if not token or token.startswith("[unused")]
    masked = sorted({*lexicon.special_ids, *unused, *range(len(lexicon.tokens), rows)})
    return SparseEncoder(mlm, Head(**{**asdict(config.head), "masked_ids": tuple(masked)}))


def _started(config: TrainConfig, start: Path, lexicon: Lexicon) -> Any:
    """The masked-LM of ``encoder.start``, found to fit the tokenizer and the head."""
    from osparse.encoder import load_masked_lm, positions

    try:
        mlm = load_masked_lm(start, "sdpa")
    except ModelError as problem:
        raise ConfigError("encoder.start", [str(problem)]) from None
    rows, longest = mlm.get_output_embeddings().weight.shape[0], positions(mlm)
    problems = []
    if rows < len(lexicon.tokens):
        problems.append(
            f"{start} has {rows} vocabulary rows, {config.tokenizer} has {len(lexicon.tokens)} tokens; "
            "give the tokenizer that belongs to the checkpoint"
        )
    if longest < config.head.max_length:
        problems.append(f"{start} has {longest} positions, head.max_length is {config.head.max_length}; lower it")
    if problems:
        raise ConfigError("encoder.start", problems)
    return mlm


def _drop_checkpoint(checkpoint: Path) -> None:
    if checkpoint.exists():
        log.warning("%s is dropped and training starts from the beginning; --resume would have gone on", checkpoint)
        shutil.rmtree(checkpoint)


def _without_places(config: TrainConfig) -> dict[str, Any]:
    """What makes the model: no paths, as their sha256 stand beside, and not how often a checkpoint is written."""
    plain = {k: v for k, v in to_plain(config).items() if k not in ("tokenizer", "idf", "checkpoint_every")}
    return {**plain, "encoder": {k: v for k, v in plain["encoder"].items() if k != "start"}}


def _with_names(config: TrainConfig) -> dict[str, Any]:
    """The whole configuration, with the names of files and folders in place of their paths."""
    plain = to_plain(config)
    start = config.encoder.start
    encoder = {**plain["encoder"], "start": start.resolve().name if start else None}
    return {**plain, "tokenizer": config.tokenizer.resolve().name, "idf": config.idf.name, "encoder": encoder}


def _warm_start(config: TrainConfig, encoder: SparseEncoder, records: Records, lexicon: Lexicon) -> None:
    for stage in config.stages:
        if isinstance(stage, WarmStart):
            from osparse.trainer.warm_start import warm_start

            warm_start(encoder.mlm, stage, records, lexicon.idf, config.seed)


def _stages(
    config: TrainConfig, encoder: SparseEncoder, records: Records, lexicon: Lexicon, frame: Frame
) -> list[tuple[MaskedLm | Ranking, Callable[[], Stage]]]:
    from osparse.trainer.masked_lm import MaskedLmStage, require_mask
    from osparse.trainer.ranking import RankingStage
    from osparse.trainer.sampling import require_groups

    for stage in config.stages:  # now, not when it is the stage's turn
        if not isinstance(stage, WarmStart):
            require_groups(records.groups)
        if isinstance(stage, MaskedLm):
            require_mask(stage, frame)

    def make(stage: MaskedLm | Ranking, seed: int) -> Stage:
        if isinstance(stage, MaskedLm):
            return MaskedLmStage(encoder, stage, records, frame, seed)
        return RankingStage(encoder, stage, config.sparsity, records, lexicon.idf, frame, seed)

    return [
        (stage, partial(make, stage, 1000 * config.seed + number))  # a task may come twice
        for number, stage in enumerate(config.stages)
        if not isinstance(stage, WarmStart)
    ]


def _before(progress: Progress) -> Callable[[dict[str, Any]], bool]:
    """Which lines of the log were written before the checkpoint."""

    def keep(row: dict[str, Any]) -> bool:
        return "part" in row and (row["part"], row["step"]) <= (progress.stage, progress.step)

    return keep


def _made_from(output: Path) -> str:
    """The fingerprint an existing output was trained with; empty if it is no model of ours."""
    try:
        return str(Model.open(output).training.get("fingerprint", ""))
    except ModelError as problem:
        log.debug("%s", problem)
        return ""


def _start_fingerprint(config: TrainConfig) -> str | None:
    if config.encoder.start is None:
        return None
    start, names = config.encoder.start, ("config.json", "model.safetensors")
    missing = [name for name in names if not (start / name).is_file()]
    if missing:
        raise ConfigError("encoder.start", [f"{start} has no {' and no '.join(missing)}; a masked-LM folder is wanted"])
    return fingerprint({name: sha256_file(start / name) for name in names})
