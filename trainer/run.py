"""One training run, from a configuration and a dataset to a model directory. Imports torch only when there is work."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osparse.dataset import Dataset
from osparse.errors import InputError, ModelError
from osparse.extras import require
from osparse.files import pretty_json, write_atomic
from osparse.lexicon import Lexicon
from osparse.model import Model
from osparse.trainer.config import TrainConfig, WarmStart
from osparse.trainer.inputs import Inputs, read_inputs

if TYPE_CHECKING:
    from osparse.encoder import SparseEncoder
    from osparse.trainer.checkpoint import Checkpoint, Progress
    from osparse.trainer.distributed import World
    from osparse.trainer.padding import Frame
    from osparse.trainer.records import Records
    from osparse.trainer.runlog import RunLog
    from osparse.trainer.staging import Makers
    from osparse.trainer.validation import Validation

log = logging.getLogger("osparse.trainer.run")
NEEDED = ("torch", "transformers", "safetensors", "sklearn", "accelerate")


def run_folder(output: Path) -> Path:
    """Where a run keeps its log and checkpoint: beside the output."""
    return output.with_name(f"{output.name}.run")


@dataclass(frozen=True)
class Prepared:
    """Everything in memory, nothing written yet."""

    records: Records
    validation: Validation
    encoder: SparseEncoder
    frame: Frame
    stages: Makers
    idf: dict[str, Any]
    """Provenance of the query weights."""
    world: World


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

    Under ``accelerate launch`` or ``torchrun`` all processes train one model; ``output`` must then lie on a file
    system that they share.

    Args:
        config: A YAML file (see configs/) or the configuration itself.
        dataset: With train and validation judgements; nothing of the test split is learnt from.
        output: Model directory to make. The run's log and checkpoints go to ``<output>.run``.
        overrides: ``key=value`` changes to the YAML, such as ``stages.ranking.lr=1e-4``.
        resume: Go on from the run's newest checkpoint; on one machine's CPU the result equals the uninterrupted run's
            to the bit.
        overwrite: Replace an output made from other inputs.

    Returns:
        The model; if the output was made from the same inputs before, that one, at once.

    Raises:
        ConfigError: every problem of the configuration together.
        DatasetError, ModelError: the inputs do not fit.
        CheckError: the loss became NaN or infinite; a checkpoint of the step before is kept.
        OsparseError: memory ended; a checkpoint is kept.
    """
    output = Path(output)
    inputs = read_inputs(config, dataset, overrides)
    if output.exists() and not overwrite and not (output.is_dir() and not any(output.iterdir())):
        if made_from_these(output, inputs.name):
            finished = "; its run is finished, so there is nothing to resume" if resume else ""
            log.info("%s is up to date%s", output, finished)
            return Model.open(output)
        raise InputError(f"{output} exists and was not made from these inputs; pass --overwrite or another --output")
    for module in NEEDED:
        require(module, "train")
    return _train(inputs, output, resume=resume)


def prepare(inputs: Inputs) -> Prepared:
    """Load everything a run needs; writes nothing, and raises what is wrong with the inputs."""
    import torch

    from osparse.trainer.distributed import world as join
    from osparse.trainer.output import idf_provenance
    from osparse.trainer.padding import Frame
    from osparse.trainer.precision import prepare as prepare_encoder
    from osparse.trainer.staging import stage_makers, training_records
    from osparse.trainer.starting import new_encoder
    from osparse.trainer.validation import Validation

    config, dataset, lexicon = inputs.config, inputs.dataset, inputs.lexicon
    idf = idf_provenance(config.idf, dataset.fingerprint)  # before the work, as it may refuse the table
    world = join()
    if world.rank:
        logging.getLogger("osparse").setLevel(logging.ERROR)  # the main process speaks for all
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    validation = Validation(
        dataset, inputs.tokenizer, lexicon, distractors=config.validation.documents, seed=config.seed,
        nonzeros=config.head.nonzeros,
    )  # fmt: skip
    records = training_records(config, dataset, inputs.tokenizer, lexicon)
    queries = sum(len(record.queries) for record in records.records)
    log.info("%d records, %d queries, languages %s", len(records), queries, ", ".join(records.languages))
    if queries < len(records.relevant):
        log.warning(
            "%d training queries are left out: they, or all their documents, tokenise to nothing",
            len(records.relevant) - queries,
        )
    encoder = new_encoder(config, lexicon).to(world.device)
    frame = Frame.of(inputs.tokenizer)
    prepare_encoder(encoder, config.loop, world.device)
    stages = stage_makers(config, dataset, encoder, records, lexicon, frame, world.device)
    return Prepared(records, validation, encoder, frame, stages, idf, world)


def _train(inputs: Inputs, output: Path, *, resume: bool) -> Model:
    from osparse.trainer.checkpoint import Progress, drop_checkpoints, read_checkpoint
    from osparse.trainer.distributed import barrier, main_process
    from osparse.trainer.loop import Run, run_stages
    from osparse.trainer.runlog import RunLog, sole_process

    config, folder = inputs.config, run_folder(output)
    checkpoint = read_checkpoint(folder, inputs.name) if resume else None
    progress = checkpoint.progress if checkpoint else Progress(inputs.name)
    prepared = prepare(inputs)
    _add_table(inputs, prepared)
    with sole_process(folder) if main_process() else nullcontext():
        # The inputs are found good; only now may an earlier sitting's log and checkpoint go.
        if main_process() and not resume:
            drop_checkpoints(folder)
        keep = _before(progress) if resume else None
        run_log = RunLog(folder, keep=keep, tensorboard=config.loop.tensorboard) if main_process() else None
        if main_process():
            write_atomic(folder / "config.json", pretty_json(inputs.shown))
        run = Run(
            folder, prepared.encoder, prepared.stages, prepared.validation, config.validation,
            config.checkpoint_every, config.loop, prepared.world, run_log,
        )  # fmt: skip
        try:
            _begin(inputs, prepared, checkpoint)
            run_stages(run, progress, checkpoint)
        except BaseException:
            if run_log is not None:
                run_log.write("stopped")  # a monitor ends with it
            raise
        if run_log is not None:
            _finish(inputs, prepared, progress, run_log, output)
    barrier()
    return Model.open(output)


def _add_table(inputs: Inputs, prepared: Prepared) -> None:
    """Give the encoder its lexical table, a function of the training records; measured and served, not trained with."""
    from osparse.trainer.lexical import lexical_table

    config, encoder = inputs.config, prepared.encoder
    if config.lexical_table is not None:
        rows, longest = len(encoder.keep), config.head.max_length
        table = lexical_table(config.lexical_table, prepared.records, rows, prepared.frame, longest)
        encoder.lexical = table.to(prepared.world.device)


def _finish(inputs: Inputs, prepared: Prepared, progress: Progress, run_log: RunLog, output: Path) -> None:
    """Write the best weights as a model, then drop the checkpoints."""
    from osparse.trainer.checkpoint import FOLDER, load_weights
    from osparse.trainer.output import write_model

    encoder = prepared.encoder
    best = progress.best or {"stage": "warm_start", "step": 0, **prepared.validation.measure(encoder)}
    if progress.best_weights:  # none where there is no stage but the warm start
        load_weights(encoder, progress.best_weights)
    encoder.head = replace(encoder.head, prune_ratio=best["prune_ratio"])
    training = {
        **inputs.shown,
        "fingerprint": inputs.name,
        "steps": sum(stage.steps for stage, _ in prepared.stages),
        "seconds": round(run_log.seconds, 1),
        "processes": prepared.world.size,
    }
    write_model(
        output,
        encoder.cpu().eval(),
        tokenizer=inputs.config.tokenizer,
        lexicon=_learnt(encoder, inputs.lexicon),
        idf=_provenance(encoder, prepared.idf),
        training=training,
        metrics={"split": "validation", "trained_on": inputs.config.validation.trained_on, **best},
        log=run_log.path.parent,
        overwrite=True,
    )
    run_log.write("end", best=best)
    shutil.rmtree(run_log.path.parent / FOLDER, ignore_errors=True)
    log.info("%s: validation nDCG@10 %.4f, %.0f non-zeros", output, best["ndcg"], best["nonzeros"])


def _begin(inputs: Inputs, prepared: Prepared, checkpoint: Checkpoint | None) -> None:
    """The warm start, equal parameters in all processes, and dropout that differs between them."""
    import torch

    from osparse.trainer.distributed import broadcast, main_process

    if checkpoint is None and main_process():
        for stage in inputs.config.stages:
            if isinstance(stage, WarmStart):
                from osparse.trainer.warm_start import warm_start

                warm_start(prepared.encoder.mlm, stage, prepared.records, inputs.lexicon.idf, inputs.config.seed)
    broadcast(prepared.encoder.parameters())
    if prepared.world.rank:
        torch.manual_seed(inputs.config.seed + 1_000_003 * prepared.world.rank)


def _learnt(encoder: SparseEncoder, lexicon: Lexicon) -> Lexicon:
    """The lexicon with the query weights that the run learnt, if it did."""
    import numpy as np
    from torch import Tensor

    from osparse.lexicon import MAX_WEIGHT, MIN_WEIGHT

    learnt = getattr(encoder, "log_idf", None)
    if not isinstance(learnt, Tensor):
        return lexicon
    return replace(lexicon, idf=np.clip(learnt.detach().exp().float().numpy(), MIN_WEIGHT, MAX_WEIGHT))


def _provenance(encoder: SparseEncoder, idf: dict[str, Any]) -> dict[str, Any]:
    return {**idf, "learnt": "in training, from the weights described here"} if hasattr(encoder, "log_idf") else idf


def _before(progress: Progress) -> Callable[[dict[str, Any]], bool]:
    """Which lines of the log were written before the checkpoint."""

    def keep(row: dict[str, Any]) -> bool:
        return "part" in row and (row["part"], row["step"]) <= (progress.stage, progress.step)

    return keep


def made_from_these(output: Path, name: str) -> bool:
    """Whether an existing output is a model that was trained from the inputs of this fingerprint."""
    try:
        return bool(Model.open(output).training.get("fingerprint") == name)
    except ModelError as problem:
        log.debug("%s", problem)
        return False
