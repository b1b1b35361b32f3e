"""The option of commands that search an index: which of its sparse fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def sparse_fields_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--sparse-field",
        "sparse_fields",
        multiple=True,
        metavar="NAME",
        help="Search this sparse field; may be repeated: their scores add up.  [default: all that have a boost]",
    )(function)
