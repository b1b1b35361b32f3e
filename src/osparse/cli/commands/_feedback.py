"""The option ``--feedback`` of the commands that search a deployed index."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from osparse.retrieval.serving.settings import Feedback


def feedback_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``feedback``, None where it was not given."""
    return click.option(
        "--feedback",
        metavar="NAME=VALUE,...",
        callback=_parsed,
        help="Let stored weights of the first hits join the query, such as documents=3,tokens=16,share=0.2; with "
        "rerank=100 only the first 100 hits are ordered anew. No model is called.",
    )(function)


def _parsed(ctx: click.Context, parameter: click.Parameter, text: str | None) -> Feedback | None:
    from osparse.cli.parameter_names import with_flags
    from osparse.errors import InputError
    from osparse.retrieval.serving.settings import Feedback

    if text is None:
        return None
    try:
        return Feedback.parse(text)
    except InputError as problem:
        raise InputError(with_flags(str(problem), [parameter])) from None
