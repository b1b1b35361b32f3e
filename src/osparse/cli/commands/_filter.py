"""The options ``--filter`` and ``--filter-json``, and JSON given as text or as a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from osparse.errors import InputError
from osparse.io.files import read_text

if TYPE_CHECKING:
    from osparse.retrieval.filters.clauses import Filter


class JsonOrFile(click.ParamType[Any]):
    """JSON data, or the name of a file that holds some."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        flag = param.opts[0] if param is not None else "the value"
        is_json = value.lstrip()[:1] in ("{", "[")
        try:
            return json.loads(value if is_json else read_text(Path(value)))
        except OSError as problem:
            raise InputError(
                f"{flag} must be JSON or a file that holds it, got {value!r}: {problem.strerror}"
            ) from None
        except ValueError as problem:
            where = "" if is_json else f" {value}"
            raise InputError(f"{flag}{where} is not JSON: {problem}") from None


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``filter`` and ``filter_json``; see :func:`both_filters`."""
    for option in (
        click.option(
            "--filter-json", type=JsonOrFile(), metavar="JSON|FILE",
            help='Only documents that match this clause of the query DSL, such as {"term": {"brand": "acme"}}.',
        ),
        click.option(
            "--filter", metavar="FILTER",
            help="Only documents that satisfy this, such as 'price < 100 and brand:acme' (docs/searching.md).",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def both_filters(text: str | None, clause: Any) -> Filter | None:
    """One filter of the two options, which must both be satisfied; None where neither was given."""
    if clause is None:
        return text
    clauses = clause if isinstance(clause, list) else [clause]
    if not all(isinstance(one, dict) for one in clauses):
        raise InputError(f"--filter-json must be an object or a list of objects, got {json.dumps(clause)[:80]}")
    return clauses if text is None else [text, *clauses]
