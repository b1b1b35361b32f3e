"""Dry run: the stages, steps, memory and files of a training run. Nothing is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from osparse.contracts.dataset import Dataset
from osparse.errors import ConfigError
from osparse.evaluation.teacher_quality import TeacherQuality
from osparse.trainer.config.inputs import Inputs, read_inputs
from osparse.trainer.config.read_config import GivenPaths
from osparse.trainer.config.run_config import MaskedLm, Ranking, TrainConfig, WarmStart
from osparse.trainer.report.run_log import run_folder
from osparse.trainer.run import made_from_these, main_process_logs, torch_modules

if TYPE_CHECKING:
    from osparse.trainer.data.training_records import TrainingRecords
    from osparse.trainer.training import LoadedRun

LAYER_STATES, LAYER_INNER = 8, 2
"""Activations that a transformer layer saves for the backward pass: of the hidden width (layer norms' and projections'
inputs, queries, keys, values, attention's output) and of the feed-forward width (before and after its activation)."""


@dataclass(frozen=True)
class StagePlan:
    task: str
    steps: int
    documents: int
    """Per step, of all processes together."""
    steps_per_epoch: int | None
    """None where a stage has no epochs."""
    tokens: int
    """Ids per document at most, special ones included."""


@dataclass(frozen=True)
class TrainingPlan:
    """What :func:`osparse.trainer.train` would do."""

    stages: list[StagePlan]
    records: int
    queries: int
    languages: list[str]
    parameters: int
    device: str
    processes: int
    precision: str
    memory: dict[str, int]
    """Estimated bytes in each process, by what takes them."""
    output: str
    run: str
    """Folder of the log and the checkpoints."""
    teachers: list[TeacherQuality]
    """How well each teacher ranks lists of the training split."""
    refused: str | None
    """Why training would refuse a teacher."""
    learnt: dict[str, str]
    """Held-back split -> how much of its queries and answers the run learns from, where it is any."""
    settled: list[str]
    """What follows from the records: the numbers of ``auto`` settings, and settings without effect on them."""
    state: str
    """What the output holds already: "new", "up to date", "made from other inputs", or a checkpoint to resume."""

    @property
    def bytes(self) -> int:
        return sum(self.memory.values())

    def to_json(self) -> dict[str, Any]:
        teachers = [quality.to_json() for quality in self.teachers]
        return {**asdict(self), "teachers": teachers, "memory_total": self.bytes}

    def text(self) -> str:
        lines = [
            f"{self.records:,} records, {self.queries:,} queries, languages {', '.join(self.languages)}",
            f"{self.parameters:,} parameters, {self.precision}, {self.processes} process(es), device {self.device}",
            "stages:",
        ]
        for stage in self.stages:
            if stage.steps_per_epoch is None:
                lines.append(f"  {stage.task}")
                continue
            epochs = stage.steps / stage.steps_per_epoch
            lines.append(
                f"  {stage.task}: {stage.steps:,} steps of {stage.documents:,} documents of at most {stage.tokens} "
                f"tokens; {stage.steps_per_epoch:,} steps per epoch, so {epochs:.1f} epochs"
            )
        lines.append(f"memory per process, estimated: {_size(self.bytes)} beside torch itself")
        lines += [f"  {_size(amount):>9}  {name}" for name, amount in self.memory.items()]
        for quality in self.teachers:
            lines += [f"teacher {quality.teacher}:", quality.text()]
        if self.refused is not None:
            lines.append(f"training would refuse this: {self.refused}")
        lines += [f"note: {note}" for note in self.settled]
        lines += [f"warning: {counts}" for counts in self.learnt.values()]
        lines += [f"output: {self.output} ({self.state})", f"log and checkpoints: {self.run}", "nothing was written"]
        return "\n".join(lines)


@main_process_logs()
def plan(
    config: TrainConfig | Path | str,
    dataset: Dataset | Path | str,
    output: Path | str,
    *,
    overrides: Sequence[str] = (),
    start: Path | str | None = None,
    tokenizer: Path | str | None = None,
    idf: Path | str | None = None,
) -> TrainingPlan:
    """Read the inputs as :func:`osparse.trainer.train` does and describe the run. Writes nothing.

    Raises what ``train`` raises for wrong inputs.
    """
    inputs = read_inputs(config, dataset, overrides, GivenPaths(start=start, tokenizer=tokenizer, idf=idf))
    modules = torch_modules()
    loaded: LoadedRun = modules.load_run(inputs)
    records = loaded.records
    stages = [_stage(stage, records) for stage in loaded.settled.config.stages]
    return TrainingPlan(
        stages=stages,
        records=len(records),
        queries=records.query_count,
        languages=list(records.languages),
        parameters=sum(p.numel() for p in loaded.encoder.parameters()),
        device=str(loaded.world.device),
        processes=loaded.world.size,
        precision=inputs.config.loop.precision,
        memory=_memory(inputs, loaded, stages),
        teachers=list(loaded.teachers.values()),
        refused=_refused(inputs, loaded),
        learnt={
            split: counts.text(split)
            for split, counts in modules.judged_and_learnt(inputs, loaded).items()
            if counts.any
        },
        settled=list(loaded.settled.notes),
        output=str(output),
        run=str(run_folder(Path(output))),
        state=_state(Path(output), inputs.name),
    )


def _refused(inputs: Inputs, loaded: LoadedRun) -> str | None:
    from osparse.trainer.stages.teacher_check import require_good_teachers

    try:
        require_good_teachers(inputs.config, loaded.teachers)
    except ConfigError as problem:
        return str(problem)
    return None


def _stage(stage: WarmStart | MaskedLm | Ranking, records: TrainingRecords) -> StagePlan:
    if isinstance(stage, WarmStart):
        return StagePlan(stage.task, 0, 0, None, 0)
    batch = min(stage.batch, len(np.unique(records.groups)))
    each = float(np.mean([len({d.lang for d in record.documents}) for record in records.records]))
    negatives = stage.negatives if isinstance(stage, Ranking) else 0
    documents = math.ceil(batch * each * (1 + negatives))
    return StagePlan(stage.task, stage.step_count, documents, max(1, len(records) // batch), stage.max_length)


def _memory(inputs: Inputs, loaded: LoadedRun, stages: Sequence[StagePlan]) -> dict[str, int]:
    """Bytes of each part: an estimate from shapes, for the most demanding stage."""
    loop, encoder, size = inputs.config.loop, loaded.encoder, loaded.world.size
    parameters = sum(p.numel() for p in encoder.parameters())
    shape = encoder.mlm.config
    hidden, layers = int(shape.hidden_size), int(shape.num_hidden_layers)
    inner = int(getattr(shape, "intermediate_size", 4 * hidden))
    rows = int(encoder.decoder.weight.shape[0])
    value_bytes = 4 if loop.precision == "fp32" else 2
    per_layer = hidden if loop.gradient_checkpointing else LAYER_STATES * hidden + LAYER_INNER * inner
    recomputed = LAYER_STATES * hidden + LAYER_INNER * inner if loop.gradient_checkpointing else 0
    activations, outputs = 0, 0
    for stage, planned in zip(inputs.config.stages, stages, strict=True):
        of_process = math.ceil(planned.documents / size)
        tokens = min(of_process, loop.micro_batch or of_process) * planned.tokens
        activations = max(activations, tokens * (layers * per_layer + recomputed + 3 * hidden) * value_bytes)
        if isinstance(stage, Ranking):
            columns = (inputs.config.sparsity.columns or rows) + planned.documents * planned.tokens
            outputs = max(outputs, 3 * planned.documents * min(rows, columns) * 4)
        elif isinstance(stage, MaskedLm):
            labels = tokens * (stage.masked + stage.translated + stage.kept)
            softmax = min(rows, (stage.columns or rows) + planned.documents * planned.tokens)
            outputs = max(outputs, int(3 * labels * softmax * 4))
    return {
        "parameters (fp32)": 4 * parameters,
        "gradients": 4 * parameters,
        "optimiser (AdamW: two moments)": 8 * parameters,
        "best weights so far, in main memory": 4 * parameters,
        f"activations of {loop.micro_batch or 'all'} documents at a time": activations,
        "document weights or logits, and their gradients": outputs,
    }


def _state(output: Path, name: str) -> str:
    if output.is_dir() and any(output.iterdir()):
        return "up to date" if made_from_these(output, name) else "made from other inputs: needs `overwrite=True`"
    if any((run_folder(output) / "checkpoint").glob("*/state.json")):
        return "new; it has a checkpoint, which `resume=True` continues"
    return "new"


def _size(amount: int) -> str:
    return f"{amount / 1e9:.2f} GB" if amount >= 1e9 else f"{amount / 1e6:.1f} MB"
