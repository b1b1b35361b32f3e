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
@click.option("--model", type=FOLDER, help="What BUNDLE was made from, to compare with that too.")
@click.option(
    "--reference",
    type=FOLDER,
    help="Another's checkpoint that BUNDLE was made from, to compare with what sentence-transformers makes of it.",
)
@click.option("--dataset", type=FOLDER, help="Measure how the bundle fits this dataset.")
def command(bundle: Path, runtime: str, model: Path | None, reference: Path | None, dataset: Path | None) -> None:
    """Check BUNDLE's files, tokenizer, query weights and encoders; exit code 3 if one does not hold.

    Ring (a) compares the packaged graphs, (b) a Python copy of the server with the bundle's probes, (c) the server's
    own runtime with them.
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
