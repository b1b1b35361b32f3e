"""The options of commands that send many queries: a dataset's, or the lines of a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from osparse.cli.commands._common import FOLDER


def queries_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --dataset, --split and --queries."""
    function = click.option("--queries", type=FOLDER, metavar="FILE",
                            help="One query a line, instead of --dataset.")(function)  # fmt: skip
    function = click.option("--split", default="test", show_default=True, help="Split of --dataset.")(function)
    return click.option("--dataset", type=FOLDER, help="Dataset directory or BEIR folder with queries.")(function)
