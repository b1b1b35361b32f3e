"""What every command shares: the global flags accepted after the command too, examples in its help, one way to echo."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from osparse.cli.main import setup_logging
from osparse.cli.parameter_names import with_flags
from osparse.errors import OsparseError

FOLDER = click.Path(path_type=Path)
"""A path whose kind the contract's ``open`` checks, so that the message names the command that makes it."""

_GLOBAL = {"as_json": "json", "quiet": "quiet", "verbose": "verbose"}


def command(
    name: str, *, examples: str, group: click.Group | None = None, kind: type[click.Command] = click.Command
) -> Callable[[Callable[..., Any]], click.Command]:
    """A click command whose help ends with examples and which takes the global flags after its name too.

    The function echoes its result with :func:`echo`.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def run(**arguments: Any) -> Any:
            options = click.get_current_context().find_root().obj
            for flag, key in _GLOBAL.items():
                options[key] = arguments.pop(flag) or options[key]
            setup_logging(options)
            try:
                return function(**arguments)
            except OsparseError as error:
                error.args = (with_flags(str(error), click.get_current_context().command.params),)
                raise

        for flag, key in reversed(_GLOBAL.items()):
            run = click.option(f"--{key}", flag, is_flag=True, hidden=True)(run)
        epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples.strip().splitlines())
        maker = group.command if group is not None else click.command
        made: click.Command = maker(name, cls=kind, epilog=epilog)(run)
        return made

    return decorate


def echo(result: dict[str, Any], text: str | Callable[[], str]) -> None:
    """Print ``result`` as JSON under ``--json``, ``text`` otherwise."""
    options = click.get_current_context().find_root().obj
    if options["json"]:
        click.echo(json.dumps(result, ensure_ascii=False, allow_nan=False))
    else:
        click.echo(text() if callable(text) else text)
