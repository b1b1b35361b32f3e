"""``osparse verify``: a bundle is checked again, in up to three rings."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from osparse.cli.commands._common import FOLDER, echo
from osparse.cli.commands._common import command as make_command


@make_command(
    "verify",
    examples="""
osparse verify build/quickstart/bundle
osparse verify BUNDLE --runtime djl
osparse verify BUNDLE --model MODEL --dataset DATASET --json
osparse verify BUNDLE --reference splade-folder
""",
)
@click.argument("bundle", type=FOLDER)
@click.option(
    "--runtime",
    type=click.Choice(["python", "djl"]),
    default="python",
    show_default=True,
    help="djl also runs the zips in the server's own runtime, fetched from Maven Central once (222 MB).",
)
@click.option("--model", type=FOLDER, help="The model that BUNDLE was made from, to compare with it too.")
@click.option(
    "--reference",
    type=FOLDER,
    help="Checkpoint that BUNDLE was made from, to compare with its weights in sentence-transformers.",
)
@click.option("--dataset", type=FOLDER, help="Measure how the bundle fits this dataset.")
def command(bundle: Path, runtime: str, model: Path | None, reference: Path | None, dataset: Path | None) -> None:
    """Check BUNDLE's files, tokenizer, query weights and encoders; exit code 3 if a check fails.

    Graphs: the packaged encoders agree with each other. Emulator: a Python copy of what the server does gives the
    weights of the bundle's probes. Server runtime: the server's own libraries give them, with --runtime djl.
    """
    from osparse.packager import verify
    from osparse.packager.compare.parity import table

    found = verify(
        bundle, runtime="djl" if runtime == "djl" else "python", model=model, reference=reference, dataset=dataset
    )
    result = {
        "bundle": str(found.bundle.path),
        "fingerprint": found.bundle.fingerprint,
        "checks": [asdict(check) for check in found.checks],
        "fit": found.fit.to_json() if found.fit else found.bundle.fit,
    }
    fit = f"\nfit\n{table(found.fit.rows())}" if found.fit else ""
    echo(result, f"{found.bundle.path} holds\n{found.table()}{fit}")
