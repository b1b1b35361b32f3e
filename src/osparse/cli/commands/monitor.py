"""``osparse monitor``: a training run's metrics in the terminal."""

from __future__ import annotations

from pathlib import Path

import click

from osparse.cli.commands._common import FOLDER, echo
from osparse.cli.commands._common import command as make_command


@make_command(
    "monitor",
    examples="""
osparse monitor build/quickstart/model.run
osparse monitor build/quickstart/model.run --once
""",
)
@click.argument("run", type=FOLDER)
@click.option("--once", is_flag=True, help="Print the current state and exit.")
def command(run: Path, once: bool) -> None:
    """Show the live metrics of RUN, the folder OUTPUT.run beside a training's output."""
    from osparse.trainer.report.monitor import monitor
    from osparse.trainer.report.run_log import read_log

    if click.get_current_context().find_root().obj["json"]:
        echo({"metrics": read_log(run)}, "")
    else:
        monitor(run, once=once)
