"""``osparse verify``: a bundle is checked again: its files, its graphs and its answers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from osparse.cli.commands._common import FOLDER, echo
from osparse.cli.commands._common import command as make_command
from osparse.contracts.bundle import Bundle


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

    "graphs" compares the packaged graphs with each other, "emulator" an emulation of the server with the bundle's
    probes, "server runtime" (with --runtime djl) the server's own runtime with them. A model that osparse import has
    read back is checked as far as it says what it must give: --model or --reference say more.
    """
    from osparse.packager import verify
    from osparse.packager.compare.parity import table

    verification = verify(
        bundle, runtime="djl" if runtime == "djl" else "python", model=model, reference=reference, dataset=dataset
    )
    checked = verification.bundle
    result: dict[str, Any] = {"checks": [asdict(check) for check in verification.checks]}
    if isinstance(checked, Bundle):
        fit_figures = verification.fit.to_json() if verification.fit else checked.fit
        result = {"bundle": str(checked.path), "fingerprint": checked.fingerprint, **result, "fit": fit_figures}
    else:
        result = {"imported": str(checked.path), **result, "notes": list(checked.notes)}
    fit = f"\nfit\n{table(verification.fit.rows())}" if verification.fit else ""
    echo(result, f"{checked.path} holds\n{verification.table()}{fit}")
