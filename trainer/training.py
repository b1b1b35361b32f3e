"""The side of a training run that needs torch: preparation, the stages, the finished model."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from osparse.contracts.model import Model
from osparse.encoders.torch_encoder import SparseEncoder
from osparse.formula.lexicon import MAX_WEIGHT, MIN_WEIGHT, Lexicon
from osparse.io.files import pretty_json, write_atomic
from osparse.trainer.compute.distributed import World, barrier, broadcast, main_process, world
from osparse.trainer.compute.precision import prepare as prepare_encoder
from osparse.trainer.config.inputs import Inputs
from osparse.trainer.config.run_config import WarmStart
from osparse.trainer.data.padding import Frame
from osparse.trainer.data.records import Records
from osparse.trainer.loop.build_stages import Makers, stage_makers, training_records
from osparse.trainer.loop.checkpoint import (
    FOLDER,
    Checkpoint,
    Progress,
    drop_checkpoints,
    load_weights,
    read_checkpoint,
)
from osparse.trainer.loop.initial_encoder import new_encoder
from osparse.trainer.loop.loop import Run, run_stages
from osparse.trainer.loop.validation import Validation
from osparse.trainer.report.model_output import write_model
from osparse.trainer.report.run_log import RunLog, run_folder, sole_process
from osparse.trainer.stages.lexical import lexical_table
from osparse.trainer.stages.warm_start import warm_start

log = logging.getLogger("osparse.trainer.training")
TOKENS = "tokens"
"""Folder of the run folder for the token ids of the training texts."""


@dataclass(frozen=True)
class Prepared:
    """Everything in memory, nothing written yet."""

    records: Records
    validation: Validation
    encoder: SparseEncoder
    frame: Frame
    stages: Makers
    world: World


def prepare(inputs: Inputs, cache: Path | None = None) -> Prepared:
    """Load everything a run needs, and raise what is wrong with the inputs.

    ``cache``: folder for the token ids, which the main process makes; None writes nothing and keeps them in memory.
    """
    config, dataset, lexicon = inputs.config, inputs.dataset, inputs.lexicon
    joined = world()
    torch.manual_seed(config.seed)
    validation = Validation(
        dataset, inputs.tokenizer, lexicon, distractors=config.validation.documents, seed=config.seed,
        nonzeros=config.head.nonzeros,
    )  # fmt: skip
    records = _records(inputs, cache)
    queries = records.query_count
    log.info("%d records, %d queries, languages %s", len(records), queries, ", ".join(records.languages))
    if queries < len(records.relevant):
        log.warning(
            "%d training queries are left out: they, or all their documents, tokenise to nothing",
            len(records.relevant) - queries,
        )
    encoder = new_encoder(config, lexicon).to(joined.device)
    frame = Frame.of(inputs.tokenizer)
    prepare_encoder(encoder, config.loop, joined.device)
    stages = stage_makers(config, dataset, encoder, records, lexicon, frame, joined.device)
    return Prepared(records, validation, encoder, frame, stages, joined)


def _records(inputs: Inputs, cache: Path | None) -> Records:
    """The training records; the main process writes the cache that the others then read."""
    arguments = inputs.config, inputs.dataset, inputs.tokenizer, inputs.lexicon, cache
    if main_process():
        records = training_records(*arguments)
    barrier()
    return records if main_process() else training_records(*arguments)


def train_model(inputs: Inputs, output: Path, *, resume: bool) -> Model:
    """Prepare, train and write; raises as :func:`osparse.trainer.train` says."""
    world()  # joins the processes that a launcher started
    folder = run_folder(output)
    with sole_process(folder) if main_process() else nullcontext(), torch_threads(inputs.config.threads):
        checkpoint = read_checkpoint(folder, inputs.name) if resume else None
        progress = checkpoint.progress if checkpoint else Progress(inputs.name)
        prepared = _prepare_in(folder, inputs)
        _add_table(inputs, prepared)
        run_log = _open_log(inputs, folder, progress, resume=resume) if main_process() else None
        try:
            _begin(inputs, prepared, checkpoint)
            run_stages(_run(inputs, prepared, folder, run_log), progress, checkpoint)
            if run_log is not None:
                _finish(inputs, prepared, progress, run_log, output)
        except BaseException:
            if run_log is not None:
                run_log.write("stopped")  # a monitor ends with it
            raise
        finally:
            if run_log is not None:
                run_log.close()
    barrier()
    return Model.open(output)


def _prepare_in(folder: Path, inputs: Inputs) -> Prepared:
    """:func:`prepare` with the run folder's token ids; nothing of them is left of inputs that it refuses."""
    try:
        return prepare(inputs, folder / TOKENS)
    except BaseException:
        if main_process():
            shutil.rmtree(folder / TOKENS, ignore_errors=True)
        raise


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """torch computes on so many threads, afterwards on as many as before; None leaves them as they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _open_log(inputs: Inputs, folder: Path, progress: Progress, *, resume: bool) -> RunLog:
    """The run's log; the inputs are found good, so the log and checkpoints of an earlier run may go."""
    if not resume:
        drop_checkpoints(folder)
    write_atomic(folder / "config.json", pretty_json(inputs.shown))
    return RunLog(folder, keep=_before(progress) if resume else None, tensorboard=inputs.config.loop.tensorboard)


def _run(inputs: Inputs, prepared: Prepared, folder: Path, run_log: RunLog | None) -> Run:
    config = inputs.config
    return Run(
        folder, prepared.encoder, prepared.stages, prepared.validation, config.validation,
        config.checkpoint_every, config.loop, prepared.world, run_log,
    )  # fmt: skip


def _add_table(inputs: Inputs, prepared: Prepared) -> None:
    """Give the encoder its lexical table, a function of the training records; measured and served, not trained with."""
    config, encoder = inputs.config, prepared.encoder
    if config.lexical_table is not None:
        rows, longest = len(encoder.keep), config.head.max_length
        table = lexical_table(config.lexical_table, prepared.records, rows, prepared.frame, longest)
        encoder.lexical = table.to(prepared.world.device)


def _finish(inputs: Inputs, prepared: Prepared, progress: Progress, run_log: RunLog, output: Path) -> None:
    """Write the best weights as a model, then drop the checkpoints and the token ids."""
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
        idf=_provenance(encoder, inputs.idf),
        training=training,
        metrics={"split": "validation", "trained_on": inputs.config.validation.trained_on, **best},
        log=run_log.path.parent,
        overwrite=True,
    )
    run_log.write("end", best=best)
    for name in (FOLDER, TOKENS):
        shutil.rmtree(run_log.path.parent / name, ignore_errors=True)
    log.info("%s: validation nDCG@10 %.4f, %.0f non-zeros", output, best["ndcg"], best["nonzeros"])


def _begin(inputs: Inputs, prepared: Prepared, checkpoint: Checkpoint | None) -> None:
    """The warm start, equal parameters in all processes, and dropout that differs between them."""
    if checkpoint is None and main_process():
        for stage in inputs.config.stages:
            if isinstance(stage, WarmStart):
                warm_start(prepared.encoder.mlm, stage, prepared.records, inputs.lexicon.idf, inputs.config.seed)
    broadcast(prepared.encoder.parameters())
    if prepared.world.rank:
        torch.manual_seed(inputs.config.seed + 1_000_003 * prepared.world.rank)


def _learnt(encoder: SparseEncoder, lexicon: Lexicon) -> Lexicon:
    """The lexicon with the query weights that the run learnt, if it did."""
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
