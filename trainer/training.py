"""A training run with torch: load everything, train, write the best weights as a model."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from osparse.contracts.model import Model
from osparse.contracts.seen import SeenTexts
from osparse.encoders.torch_encoder import SparseEncoder
from osparse.evaluation.teacher_quality import TeacherQuality
from osparse.evaluation.trained_on import TrainedOn, trained_on_split
from osparse.formula.lexicon import MAX_WEIGHT, MIN_WEIGHT, Lexicon
from osparse.io.files import pretty_json, write_atomic
from osparse.trainer.compute.distributed import World, barrier, broadcast, main_process, world
from osparse.trainer.compute.precision import configure_computation
from osparse.trainer.config.inputs import Inputs
from osparse.trainer.config.run_config import Teacher, WarmStart, budgets
from osparse.trainer.data.padding import SpecialTokens
from osparse.trainer.data.training_records import TrainingRecords
from osparse.trainer.data.training_texts import texts_of_run
from osparse.trainer.loop.auto_settings import Settled, settle
from osparse.trainer.loop.build_stages import StageMakers, make_scorers, stage_makers, training_records
from osparse.trainer.loop.checkpoint import (
    FOLDER,
    RunState,
    drop_checkpoints,
    load_weights,
    read_checkpoint,
)
from osparse.trainer.loop.initial_encoder import new_encoder
from osparse.trainer.loop.loop import OnStep, Run, measure_start, run_stages
from osparse.trainer.loop.outcome import Alarm, Limits, find_alarms, looks_untrained, too_easy
from osparse.trainer.loop.own_parts import check_own_parts
from osparse.trainer.loop.table_choice import choose_table
from osparse.trainer.loop.validation import Validation
from osparse.trainer.report.model_output import write_model
from osparse.trainer.report.run_log import RunLog, run_folder, sole_process
from osparse.trainer.stages.lexical import lexical_table
from osparse.trainer.stages.teacher_check import judge_teachers, require_good_teachers
from osparse.trainer.stages.warm_start import warm_start

log = logging.getLogger("osparse.trainer.training")
HELD_BACK = ("validation", "test")
NO_VALIDATION = (
    "the dataset has no validation split, so the last step is kept, and figures are of queries that are trained on; "
    "one group in about twelve goes there: build it again with more rows or another seed "
    "(osparse corpus build --seed N)"
)
TOKENS = "tokens"
"""Folder of the run folder for the token ids of the training texts."""


@dataclass(frozen=True)
class LoadedRun:
    """Everything a run needs, in memory; nothing is written yet."""

    records: TrainingRecords
    validation: Validation
    encoder: SparseEncoder
    special: SpecialTokens
    stages: StageMakers
    world: World
    seen: SeenTexts | None
    """What the model will have learnt from; of the main process, None in the others."""
    teachers: dict[Teacher, TeacherQuality]
    """How well each teacher ranks; without those that cannot be judged."""
    settled: Settled
    """The configuration with the numbers that follow from the records."""


def train_model(inputs: Inputs, output: Path, *, resume: bool, on_step: OnStep | None = None) -> Model:
    """Load, train and write; raises as :func:`osparse.trainer.train` says."""
    world()  # joins the processes that a launcher started
    folder = run_folder(output)
    with sole_process(folder) if main_process() else nullcontext(), torch_threads(inputs.config.threads):
        checkpoint = read_checkpoint(folder, inputs.name) if resume else None
        state = checkpoint.run_state if checkpoint else RunState(inputs.name)
        loaded = _load_in(folder, inputs)
        learnt = judged_and_learnt(inputs, loaded)
        for split, counts in learnt.items():
            if counts.any:
                log.warning('%s; measure what is left by the rows "not trained on"', counts.text(split))
        run_log = _open_log(inputs, folder, state, resume=resume) if main_process() else None
        try:
            run = _run(inputs, loaded, folder, run_log, on_step)
            if checkpoint is None:
                _initialise(inputs, loaded)
            _share_parameters(inputs, loaded)
            if checkpoint is None and inputs.has_start:
                measure_start(run, state)
                _warn_of_start(inputs, state)
            run_stages(run, state, checkpoint)
            if run_log is not None:
                _finish(inputs, loaded, state, run_log, output, learnt)
        except BaseException:
            if run_log is not None:
                run_log.write("stopped")  # a monitor ends with it
            raise
        finally:
            if run_log is not None:
                run_log.close()
    barrier()
    return Model.open(output)


def load_run(inputs: Inputs, cache: Path | None = None) -> LoadedRun:
    """Load everything a run needs, and raise every problem of the inputs.

    ``cache``: folder for the token ids, which the main process writes; None keeps them in memory and writes nothing.
    """
    config, dataset, lexicon = inputs.config, inputs.dataset, inputs.lexicon
    processes = world()
    torch.manual_seed(config.seed)
    check_own_parts(config, lexicon)
    seen = texts_of_run(config, dataset) if main_process() else None
    validation = Validation(
        dataset, inputs.tokenizer, lexicon, distractors=config.validation.documents, seed=config.seed,
        nonzeros=config.head.nonzeros, budgets=budgets(config), seen=seen,
    )  # fmt: skip
    records = _records(inputs, cache)
    queries = records.query_count
    log.info("%d records, %d queries, languages %s", len(records), queries, ", ".join(records.languages))
    if queries < len(records.relevant):
        log.warning(
            "%d training queries are left out: they, or all their documents, tokenise to nothing",
            len(records.relevant) - queries,
        )
    settled = settle(config, records)
    if validation.split != "validation":
        settled = replace(settled, notes=(NO_VALIDATION, *settled.notes))
    for note in settled.notes:
        log.info("%s", note)
    encoder = new_encoder(config, lexicon).to(processes.device)
    special = SpecialTokens.of(inputs.tokenizer)
    configure_computation(encoder, config.loop, processes.device)
    scorers = make_scorers(config, dataset, records, processes.device)
    stages = stage_makers(settled.config, encoder, records, lexicon, special, scorers)
    teachers = judge_teachers(scorers, dataset, inputs.tokenizer)
    return LoadedRun(records, validation, encoder, special, stages, processes, seen, teachers, settled)


def judged_and_learnt(inputs: Inputs, loaded: LoadedRun) -> dict[str, TrainedOn]:
    """By held-back split, how much of its queries and answers the run, its start and its teachers learn from."""
    if loaded.seen is None:
        return {}
    held_back = [split for split in HELD_BACK if split in inputs.dataset.splits]
    if inputs.config.validation.trained_on and "validation" in held_back:
        held_back.remove("validation")  # on purpose, and said elsewhere
    return {split: trained_on_split(inputs.dataset, split, loaded.seen) for split in held_back}


def _records(inputs: Inputs, cache: Path | None) -> TrainingRecords:
    """The training records; the main process writes the cache that the others then read."""
    arguments = inputs.config, inputs.dataset, inputs.tokenizer, inputs.lexicon, cache
    if main_process():
        records = training_records(*arguments)
    barrier()
    return records if main_process() else training_records(*arguments)


def _load_in(folder: Path, inputs: Inputs) -> LoadedRun:
    """:func:`load_run` with the token ids in the run folder; if the inputs are refused, the token ids are removed."""
    try:
        loaded = load_run(inputs, folder / TOKENS)
        require_good_teachers(inputs.config, loaded.teachers)
        _add_table(inputs, loaded)
        return loaded
    except BaseException:
        if main_process():
            shutil.rmtree(folder / TOKENS, ignore_errors=True)
        raise


def _add_table(inputs: Inputs, loaded: LoadedRun) -> None:
    """Give the encoder its lexical table, a function of the training records; the losses do not use it."""
    table_config, encoder = loaded.settled.config.lexical_table, loaded.encoder
    if table_config is not None:
        rows, longest = len(encoder.keep), inputs.config.head.network_reads
        table = lexical_table(table_config, loaded.records, rows, loaded.special, longest)
        encoder.lexical = table.to(loaded.world.device)


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Set torch's number of threads, and restore the previous number afterwards; None leaves it unchanged."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _open_log(inputs: Inputs, folder: Path, state: RunState, *, resume: bool) -> RunLog:
    """The run's log. The inputs are valid by now, so the log and checkpoints of an earlier run may be removed."""
    if not resume:
        drop_checkpoints(folder)
    write_atomic(folder / "config.json", pretty_json(inputs.shown))
    return RunLog(folder, keep=_written_before(state) if resume else None, tensorboard=inputs.config.loop.tensorboard)


def _written_before(state: RunState) -> Callable[[dict[str, Any]], bool]:
    """Which lines of the log were written before the checkpoint."""
    return lambda row: "part" in row and (row["part"], row["step"]) <= (state.stage, state.step)


def _run(inputs: Inputs, loaded: LoadedRun, folder: Path, run_log: RunLog | None, on_step: OnStep | None) -> Run:
    config = loaded.settled.config
    return Run(
        folder, loaded.encoder, loaded.stages, loaded.validation, config.validation, config.checkpoint_every,
        config.loop, loaded.world, run_log, on_step,
    )  # fmt: skip


def _initialise(inputs: Inputs, loaded: LoadedRun) -> None:
    """The warm start, where the configuration has one."""
    for stage in inputs.config.stages:
        if isinstance(stage, WarmStart) and main_process():
            warm_start(loaded.encoder.mlm, stage, loaded.records, inputs.lexicon.idf, inputs.config.seed)


def _share_parameters(inputs: Inputs, loaded: LoadedRun) -> None:
    """Equal parameters in all processes, and dropout that differs between them."""
    broadcast(loaded.encoder.parameters())
    if loaded.world.rank:
        torch.manual_seed(inputs.config.seed + 1_000_003 * loaded.world.rank)


def _warn_of_start(inputs: Inputs, state: RunState) -> None:
    """Warnings that can be given before the first step."""
    if looks_untrained(state.start):
        log.warning(
            "the start ranks hardly better than a random order (validation nDCG@10 %.4f, random %.4f), so it looks "
            "untrained; check that the tokenizer and idf belong to it, or train it with an mlm stage first",
            state.start["ndcg"], state.start["chance"],
        )  # fmt: skip
    for language in inputs.languages_not_trained:
        figures = [
            f"{direction} {value:.3f}"
            for direction, value in state.start["directions"].items()
            if "," not in direction and language in direction.split("->")  # subsets have a comma
        ]
        measured = f"measured: {', '.join(figures)}" if figures else "not measured: no validation pairs in it"
        log.warning(
            "encoder.start was trained for %r and the training split has no pairs in it, so it may be unlearnt (%s); "
            "add pairs in %r to keep it",
            language, measured, language,
        )  # fmt: skip


def _finish(
    inputs: Inputs, loaded: LoadedRun, state: RunState, run_log: RunLog, output: Path, learnt: dict[str, TrainedOn]
) -> None:
    """Write the best weights as a model, then remove the checkpoints and the token ids."""
    encoder = loaded.encoder
    best = state.best or {"stage": "warm_start", "step": 0, **loaded.validation.measure(encoder)}
    if state.best_weights:  # none where there is no stage but the warm start
        load_weights(encoder, state.best_weights)
    settled = loaded.settled
    if settled.choose:
        best, settled = _choose_table(inputs, loaded, best)
    encoder.head = replace(encoder.head, prune_ratio=best["prune_ratio"])
    alarms = _alarms(inputs, state, best)
    metrics = {
        "split": loaded.validation.split, "trained_on": inputs.config.validation.trained_on, **best,
        "start": state.start, "last": state.last, "languages_not_trained": list(inputs.languages_not_trained),
        "alarms": [asdict(alarm) for alarm in alarms],
        "seen": {split: counts.to_json() for split, counts in learnt.items()},
        "settled": list(settled.notes),
        **({"too_easy": easy} if (easy := too_easy(best)) else {}),
    }  # fmt: skip
    write_model(
        output,
        encoder.cpu().eval(),
        tokenizer=inputs.config.tokenizer,
        lexicon=_learnt(encoder, inputs.lexicon),
        idf=_provenance(encoder, inputs.idf),
        training=_description(inputs, loaded, settled, run_log.seconds),
        metrics=metrics,
        log=run_log.path.parent,
        seen=loaded.seen,
        overwrite=True,
    )
    run_log.write("end", best=best, alarms=metrics["alarms"])
    for name in (FOLDER, TOKENS):
        shutil.rmtree(run_log.path.parent / name, ignore_errors=True)
    log.info("%s: validation nDCG@10 %.4f, %.0f non-zeros", output, best["ndcg"], best["nonzeros"])
    for alarm in alarms:
        log.warning("%s; %s", alarm.finding, alarm.remedy)
    if easy:
        log.warning("%s", easy)


def _choose_table(inputs: Inputs, loaded: LoadedRun, best: dict[str, Any]) -> tuple[dict[str, Any], Settled]:
    """The weights of the lexical table by the validation split; the measurement with them, and what became of auto."""
    settled, encoder = loaded.settled, loaded.encoder
    config = settled.config.lexical_table
    if config is None:
        raise TypeError("weights of a lexical table that the configuration does not have cannot be chosen")
    if inputs.config.validation.trained_on:
        note = "lexical_table: the defaults are kept, since what is measured on is trained on and cannot choose"
        return best, replace(settled, notes=(*settled.notes, note))
    choice = choose_table(loaded.validation, encoder, config, settled.choose)
    if choice.config != config:
        best = {**best, **loaded.validation.measure(encoder)}
    return best, settled.chosen(choice.config, choice.values, choice.notes)


def _alarms(inputs: Inputs, state: RunState, best: dict[str, Any]) -> list[Alarm]:
    config = inputs.config
    limits = Limits.of(config, vocabulary=len(inputs.lexicon.tokens))
    return find_alarms(best, start=state.start, last=state.last, limits=limits, lost=inputs.languages_not_trained)


def _description(inputs: Inputs, loaded: LoadedRun, settled: Settled, seconds: float) -> dict[str, Any]:
    """What osparse.json says of the training."""
    return {
        **inputs.shown,
        **({"auto": dict(settled.values)} if settled.values else {}),
        "fingerprint": inputs.name,
        "derived_from": list(inputs.dataset_sources),
        "languages": list(inputs.languages),
        "steps": sum(stage.step_count for stage, _ in loaded.stages),
        "seconds": round(seconds, 1),
        "processes": loaded.world.size,
        **({"teacher_quality": _qualities(loaded)} if loaded.teachers else {}),
    }


def _qualities(loaded: LoadedRun) -> list[dict[str, Any]]:
    """The figures of the teachers, without the examples, whose texts do not belong into a model."""
    return [{**quality.to_json(), "examples": []} for quality in loaded.teachers.values()]


def _learnt(encoder: SparseEncoder, lexicon: Lexicon) -> Lexicon:
    """The lexicon with the query weights that the run learnt, if it learnt any."""
    log_idf = getattr(encoder, "log_idf", None)
    if not isinstance(log_idf, Tensor):
        return lexicon
    return replace(lexicon, idf=np.clip(log_idf.detach().exp().float().numpy(), MIN_WEIGHT, MAX_WEIGHT))


def _provenance(encoder: SparseEncoder, idf: dict[str, Any]) -> dict[str, Any]:
    return {**idf, "learnt": "in training, from the weights described here"} if hasattr(encoder, "log_idf") else idf
