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
osparse train quickstart --dataset build/quickstart/dataset --output build/quickstart/model
osparse train quickstart --dataset DATASET --output MODEL --tokenizer TOKENIZER --idf IDF.json
osparse train pairs_cpu --start MODEL --dataset DATASET --output MODEL2 --set stages.ranking.steps=100 --set seed=2
osparse train mine.yaml --dataset DATASET --output MODEL --dry-run
osparse train quickstart --dataset DATASET --output MODEL --resume
osparse train dgx_8gpu --processes 8 --start CHECKPOINT --dataset DATASET --output MODEL
torchrun --nproc-per-node 8 -m osparse train dgx_8gpu --start CHECKPOINT --idf IDF.json --dataset DATASET --output MODEL
""",
)
@click.argument("config")
@click.option("--dataset", type=FOLDER, required=True, help="Dataset directory; its train split is trained on.")
@click.option("--output", type=FOLDER, required=True, help="Model directory to write; the log goes to OUTPUT.run.")
@click.option("--start", type=FOLDER, help="Checkpoint to start from: a masked-LM folder or a model directory.")
@click.option(
    "--tokenizer",
    type=FOLDER,
    help="Tokenizer folder; default: CONFIG's or the start's, else one is fitted on the training split.",
)
@click.option(
    "--idf", type=FOLDER, help="IDF table; default: CONFIG's or the start's, else the training split is counted."
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one setting of CONFIG; KEY= deletes it."
)
@click.option(
    "--processes", type=click.IntRange(1), default=1, show_default=True, help="Train in so many on this machine."
)
@click.option("--dry-run", is_flag=True, help="Describe the run, with an estimate of memory; write nothing.")
@click.option("--resume", is_flag=True, help="Continue from the run's newest checkpoint.")
@click.option("--overwrite", is_flag=True, help="Replace an output that was made from other inputs.")
def command(
    config: str,
    dataset: Path,
    output: Path,
    start: Path | None,
    tokenizer: Path | None,
    idf: Path | None,
    overrides: tuple[str, ...],
    processes: int,
    dry_run: bool,
    resume: bool,
    overwrite: bool,
) -> None:
    """Train an inference-free sparse encoder with the settings of CONFIG: a packaged name, or a YAML file.

    `osparse configs` lists the packaged ones.
    """
    from osparse.cli.commands._train_inputs import made_inputs
    from osparse.trainer import plan, run_folder, train
    from osparse.trainer.config.read_config import GivenPaths

    if dry_run and (resume or overwrite):
        raise click.UsageError("--dry-run writes nothing, so --resume and --overwrite do nothing; leave them out")
    given = GivenPaths(start=start, tokenizer=tokenizer, idf=idf)
    run = None if dry_run else run_folder(output)
    with made_inputs(config, dataset, run, overrides, given, overwrite=overwrite) as paths:
        if processes > 1:
            flags = {"--dry-run": dry_run, "--resume": resume, "--overwrite": overwrite}
            arguments = _arguments(config, dataset, output, vars(paths), overrides)
            _launch(processes, [*arguments, *(flag for flag, wished in flags.items() if wished)])
            return
        inputs: dict[str, Any] = {**vars(paths), "overrides": overrides}
        if dry_run:
            planned = plan(config, dataset, output, **inputs)
            if _main_process():
                echo(planned.to_json(), with_flags(planned.text(), click.get_current_context().command.params))
            return
        model = train(config, dataset, output, **inputs, resume=resume, overwrite=overwrite)
    alarms = model.metrics.get("alarms", [])
    again = ["osparse", *_arguments(config, dataset, output, vars(given), overrides), "--overwrite"]
    result = {"model": str(model.path), "fingerprint": model.fingerprint, "validation": model.metrics}
    if _main_process():
        notes = [f"note: {note}" for note in model.metrics.get("settled", ())]
        warnings = [*_warnings(alarms), *_learnt(model)]
        warnings += [f"warning: {easy}" for easy in [model.metrics.get("too_easy")] if easy]
        echo(
            result,
            "\n".join([_summary(model), *notes, *warnings, f"next: {_next_step(model, str(dataset), alarms, again)}"]),
        )


def _arguments(
    config: str, dataset: Path, output: Path, paths: Mapping[str, Path | str | None], overrides: Sequence[str]
) -> list[str]:
    """The command line of a training, without its flags."""
    arguments = ["train", config, "--dataset", str(dataset), "--output", str(output)]
    arguments += [part for name, path in paths.items() if path is not None for part in (f"--{name}", str(path))]
    return arguments + [part for override in overrides for part in ("--set", override)]


def _launch(processes: int, arguments: Sequence[str]) -> None:
    """Train in several processes, which print the result; ends with their exit code."""
    from osparse.trainer.compute.launch import launch

    context = click.get_current_context()
    shared = context.find_root().obj
    flags = [f"--{name}" for name in ("json", "quiet", "verbose") if shared.get(name)]
    context.exit(launch(processes, [*arguments, *flags]))


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


def _next_step(model: Model, dataset: str, alarms: Sequence[Mapping[str, Any]], again: Sequence[str]) -> str:
    """The command that fits the outcome: packaging, or training again with the changes of the first alarm."""
    unusable = [alarm for alarm in alarms if not alarm["usable"]]
    if not unusable:
        return shlex.join(["osparse", "package", str(model.path), "--dataset", dataset, "--output", "BUNDLE"])
    settings = [part for name, value in unusable[0]["settings"].items() for part in ("--set", f"{name}={value:.3g}")]
    if not settings:
        return f"{unusable[0]['remedy']}; then train again"
    return shlex.join([*again, *settings])


def _main_process() -> bool:
    """Of those that a launcher started; without importing torch."""
    return os.environ.get("RANK", "0") == "0"
