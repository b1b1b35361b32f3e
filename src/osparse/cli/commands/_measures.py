"""The option ``--measures``, which takes several names after it: ``--measures nDCG@10 RR@10 AP``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from osparse.cli.commands._common import FOLDER

FLAG = "--measures"


def judged_options(function: Callable[..., Any] | None = None, *, required: bool = True) -> Callable[..., Any]:
    """Adds --dataset, --split and --strict: which judgements are measured with."""

    def decorate(wrapped: Callable[..., Any]) -> Callable[..., Any]:
        strict = (
            "Refuse judgements of a missing or empty text, which are left out otherwise, and a pair with two grades, "
            "of which the last counts otherwise."
        )
        wrapped = click.option("--strict", is_flag=True, help=strict)(wrapped)
        split = "The split whose judgements are used."
        wrapped = click.option("--split", default="test", show_default=True, help=split)(wrapped)
        dataset = "A dataset directory, or a BEIR folder."
        return click.option("--dataset", type=FOLDER, required=required, help=dataset)(wrapped)

    return decorate if function is None else decorate(function)


def measures_option(default: str) -> Callable[..., Any]:
    """Adds ``measures``, a tuple of names, () where the option was not given."""
    return click.option(
        FLAG,
        multiple=True,
        metavar="NAME...",
        help=f"Measures by their names in ir-measures, such as nDCG@10 RR@10 R@1000 AP Judged@10, or hit@1; {default} "
        "if left out. The first one has the interval and the significance tests.",
    )


class MeasuresCommand(click.Command):
    """A command whose ``--measures`` takes every word up to the next option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_repeated(args)))


def _repeated(args: Sequence[str]) -> Iterator[str]:
    """``--measures A B`` as ``--measures A --measures B``."""
    taking, taken = False, 0
    for number, word in enumerate(args):
        if word == "--":
            yield from args[number:]
            return
        if word.startswith("-"):
            taking, taken = word == FLAG, 0
        elif taking:
            taken += 1
            if taken > 1:
                yield FLAG
        yield word
