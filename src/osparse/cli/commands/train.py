"""``osparse train``: a dataset and a configuration in, a model directory out."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from osparse.cli.commands._common import FOLDER, echo
from osparse.cli.commands._common import command as make_command
from osparse.cli.parameter_names import with_flags

if TYPE_CHECKING:
    from osparse.contracts.model import Model


@make_command(
    "train",
    examples="""
osparse train configs/quickstart.yaml --dataset build/quickstart/dataset --output build/quickstart/model
osparse train configs/quickstart.yaml --dataset DATASET --output MODEL --set stages.ranking.steps=800 --set seed=2
osparse train configs/quickstart.yaml --dataset DATASET --output MODEL --dry-run
osparse train configs/quickstart.yaml --dataset DATASET --output MODEL --resume
torchrun --nproc-per-node 8 -m osparse train configs/dgx_8gpu.yaml --dataset DATASET --output MODEL
""",
)
@click.argument("config", type=FOLDER)
@click.option("--dataset", type=FOLDER, required=True, help="Dataset directory; its train split is trained on.")
@click.option("--output", type=FOLDER, required=True, help="Model directory to write; the log goes to OUTPUT.run.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one setting of CONFIG.")
@click.option("--dry-run", is_flag=True, help="Describe the run, with an estimate of memory; write nothing.")
@click.option("--resume", is_flag=True, help="Continue from the run's newest checkpoint.")
@click.option("--overwrite", is_flag=True, help="Replace an output that was made from other inputs.")
def command(
    config: Path,
    dataset: Path,
    output: Path,
    overrides: tuple[str, ...],
    dry_run: bool,
    resume: bool,
    overwrite: bool,
) -> None:
    """Train an inference-free sparse encoder with the settings of CONFIG (YAML)."""
    from osparse.trainer import plan, train

    if dry_run:
        if resume or overwrite:
            raise click.UsageError("--dry-run writes nothing, so --resume and --overwrite do nothing; leave them out")
        planned = plan(config, dataset, output, overrides=overrides)
        if _main_process():
            echo(planned.to_json(), with_flags(planned.text(), click.get_current_context().command.params))
        return
    model = train(config, dataset, output, overrides=overrides, resume=resume, overwrite=overwrite)
    alarms = model.metrics.get("alarms", [])
    again = ["osparse", "train", str(config), "--dataset", str(dataset), "--output", str(output), "--overwrite"]
    again += [part for override in overrides for part in ("--set", override)]
    result = {"model": str(model.path), "fingerprint": model.fingerprint, "validation": model.metrics}
    if _main_process():
        warnings = [*_warnings(alarms), *_learnt(model)]
        echo(result, "\n".join([_summary(model), *warnings, f"next: {_next_step(model, alarms, again)}"]))


def _summary(model: Model) -> str:
    metrics = model.metrics
    start = metrics.get("start")
    before = f" (start: {start['ndcg']:.3f})" if start else ""
    return (
        f"{model.path}: validation nDCG@10 {metrics['ndcg']:.3f}{before}, "
        f"{metrics['nonzeros']:.0f} non-zeros per document"
    )


def _warnings(alarms: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"warning: {alarm['finding']}; {alarm['remedy']}" for alarm in alarms]


def _learnt(model: Model) -> list[str]:
    """What the model has learnt of the splits that it is measured on."""
    from osparse.evaluation.trained_on import TrainedOn

    counts = {split: TrainedOn.from_json(plain) for split, plain in model.metrics.get("seen", {}).items()}
    measured = {
        "validation": 'the directions "not trained on" leave them out',
        "test": "osparse evaluate shows its figures without them too",
    }
    return [f"warning: {c.text(split)}; {measured[split]}" for split, c in counts.items() if c.any]


def _next_step(model: Model, alarms: Sequence[Mapping[str, Any]], again: Sequence[str]) -> str:
    """The command that fits the outcome: packaging, or training again with the changes of the first alarm."""
    unusable = [alarm for alarm in alarms if not alarm["usable"]]
    if not unusable:
        return f"osparse package {shlex.quote(str(model.path))} --output BUNDLE"
    settings = [part for name, value in unusable[0]["settings"].items() for part in ("--set", f"{name}={value:.3g}")]
    if not settings:
        return f"{unusable[0]['remedy']}; then train again"
    return shlex.join([*again, *settings])


def _main_process() -> bool:
    """Of those that a launcher started; without importing torch."""
    return os.environ.get("RANK", "0") == "0"
