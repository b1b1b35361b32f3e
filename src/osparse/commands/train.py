"""``osparse train``: a dataset and a configuration in, a model directory out."""

from __future__ import annotations

from pathlib import Path

import click

from osparse.commands._common import FOLDER, echo
from osparse.commands._common import command as make_command


@make_command(
    "train",
    examples="""
osparse train configs/quickstart.yaml --dataset build/quickstart/dataset --output build/quickstart/model
osparse train configs/quickstart.yaml --dataset DATASET --output MODEL --set stages.ranking.steps=800 --set seed=2
osparse train configs/quickstart.yaml --dataset DATASET --output MODEL --resume
""",
)
@click.argument("config", type=FOLDER)
@click.option("--dataset", type=FOLDER, required=True, help="Dataset directory; its train split is learned from.")
@click.option("--output", type=FOLDER, required=True, help="Model directory to make; the run's log goes to OUTPUT.run.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one setting of CONFIG.")
@click.option("--resume", is_flag=True, help="Go on from the run's checkpoint.")
@click.option("--overwrite", is_flag=True, help="Replace an output made from other inputs.")
def command(
    config: Path, dataset: Path, output: Path, overrides: tuple[str, ...], resume: bool, overwrite: bool
) -> None:
    """Train an inference-free sparse encoder as CONFIG (YAML) says."""
    from osparse.trainer import train

    model = train(config, dataset, output, overrides=overrides, resume=resume, overwrite=overwrite)
    metrics = model.metrics
    result = {"model": str(model.path), "fingerprint": model.fingerprint, "validation": metrics}
    echo(
        result,
        f"{model.path}: validation nDCG@10 {metrics['ndcg']:.3f}, {metrics['nonzeros']:.0f} non-zeros per document\n"
        f"next: osparse package {model.path} --output BUNDLE",
    )
