"""``osparse package``: a model directory in, a proved bundle out."""

from __future__ import annotations

import json
from pathlib import Path

import click

from osparse.bundle import ENCODER_FILES
from osparse.commands._common import FOLDER, echo
from osparse.commands._common import command as make_command


@make_command(
    "package",
    examples="""
osparse package build/quickstart/model --output build/quickstart/bundle
osparse package MODEL --output BUNDLE --format onnx --name products-v2
""",
)
@click.argument("model", type=FOLDER)
@click.option("--output", type=FOLDER, required=True, help="Bundle directory to make.")
@click.option(
    "--format",
    "formats",
    type=click.Choice(list(ENCODER_FILES)),
    multiple=True,
    help="Encoder format; give it twice for both, which is the default.",
)
@click.option("--name", help="Name of the models on the cluster; default: MODEL's folder name.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle made from another model.")
def command(model: Path, output: Path, formats: tuple[str, ...], name: str | None, overwrite: bool) -> None:
    """Turn MODEL into zips that OpenSearch accepts, written only if they give the model's weights."""
    from osparse.packager import package

    bundle = package(model, output, formats or tuple(ENCODER_FILES), name, overwrite=overwrite)
    result = {"bundle": str(bundle.path), **json.loads((bundle.path / "manifest.json").read_text(encoding="utf-8"))}
    lines = [f"{bundle.path}: {bundle.name}, fingerprint {bundle.short}"]
    for key, file in bundle.files.items():
        proof = bundle.checks.get("parity", {}).get(key, {})
        said = f", within {proof['largest_difference_below']:g} of the model" if proof else ""
        lines.append(f"  {file.name:26}{file.size / 1e6:8.1f} MB{said}")
    lines.append(f"next: osparse deploy {bundle.path} --cluster URL --index NAME")
    echo(result, "\n".join(lines))
