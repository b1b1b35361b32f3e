"""``osparse train``: a dataset and a configuration in, a model directory out."""

from __future__ import annotations

import os
from pathlib import Path

import click

from osparse.cli.commands._common import FOLDER, echo
from osparse.cli.commands._common import command as make_command


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
@click.option(
    "--output", type=FOLDER, required=True, help="Model directory to write; the run's log goes to OUTPUT.run."
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one setting of CONFIG.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, with an estimate of memory; write nothing.")
@click.option("--resume", is_flag=True, help="Resume from the run's newest checkpoint.")
@click.option("--overwrite", is_flag=True, help="Replace an output made from other inputs.")
def command(
    config: Path,
    dataset: Path,
    output: Path,
    overrides: tuple[str, ...],
    dry_run: bool,
    resume: bool,
    overwrite: bool,
) -> None:
    """Train an inference-free sparse encoder as configured in CONFIG (YAML)."""
    from osparse.trainer import plan, train

    if dry_run:
        if resume or overwrite:
            raise click.UsageError("--dry-run does nothing that --resume or --overwrite could change; leave them out")
        found = plan(config, dataset, output, overrides=overrides)
        if _main_process():
            echo(found.to_json(), found.text)
        return
    model = train(config, dataset, output, overrides=overrides, resume=resume, overwrite=overwrite)
    metrics = model.metrics
    result = {"model": str(model.path), "fingerprint": model.fingerprint, "validation": metrics}
    if _main_process():
        echo(
            result,
            f"{model.path}: validation nDCG@10 {metrics['ndcg']:.3f}, {metrics['nonzeros']:.0f} non-zeros per document"
            f"\nnext: osparse package {model.path} --output BUNDLE",
        )


def _main_process() -> bool:
    """Of those that a launcher started; without importing torch."""
    return os.environ.get("RANK", "0") == "0"
