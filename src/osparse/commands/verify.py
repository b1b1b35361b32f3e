"""``osparse verify``: a bundle is checked again, without its model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from osparse.commands._common import FOLDER, echo
from osparse.commands._common import command as make_command


@make_command("verify", examples="osparse verify build/quickstart/bundle")
@click.argument("bundle", type=FOLDER)
def command(bundle: Path) -> None:
    """Check BUNDLE's files, tokenizer, query weights and encoders; exit code 3 if one does not hold."""
    from osparse.packager import verify

    found = verify(bundle)
    checks = [asdict(check) for check in found.checks]
    echo(
        {"bundle": str(found.bundle.path), "fingerprint": found.bundle.fingerprint, "checks": checks},
        f"{found.bundle.path} holds\n{found.table()}",
    )
