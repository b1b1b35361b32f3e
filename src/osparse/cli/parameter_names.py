"""Errors of the library name parameters; on the command line the user sees the flags of his command."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

PARAMETER = re.compile(r"`([a-z_]+)(?:=([^`]*))?`")


def with_flags(message: str, parameters: Sequence[click.Parameter]) -> str:
    """``message`` with each parameter in backticks as its flag or argument.

    ```overwrite=True``` becomes ``--overwrite``, ```keep=2``` becomes ``--keep 2``, an argument its name in capitals;
    what is no parameter of the command stays as it is.
    """
    known = {parameter.name: parameter for parameter in parameters}

    def shown(found: re.Match[str]) -> str:
        name, value = found[1], found[2]
        if name not in known:
            return found[0]
        return _shown(known[name], value)

    return PARAMETER.sub(shown, message)


def _shown(parameter: click.Parameter, value: str | None) -> str:
    if isinstance(parameter, click.Argument):
        return parameter.human_readable_name
    flag = next(name for name in parameter.opts if name.startswith("--"))
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return parameter.secondary_opts[0] if value == "False" and parameter.secondary_opts else flag
    return flag if value is None else f"{flag} {value}"
