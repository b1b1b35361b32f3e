"""What commands that read rows share: where rows come from, and what their text is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


class _Location(click.ParamType):
    """A path, a pattern or an address, whose slashes are kept."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from osparse.io.locations import location

        return location(value)


class _Template(click.ParamType):
    r"""A template in which \n and \t stand for a line end and a tab, as no shell writes them easily."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from osparse.rows.text_template import unescaped

        return unescaped(str(value))


LOCATION = _Location()


def text_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --text-field, several times, and --template."""
    helps = {
        "fields": "Field of the text; several make the text together.  [default: text]",
        "template": r'How fields make the text, as "{title}\n{body}".  [default: a line each]',
    }
    function = click.option("--template", type=_Template(), metavar="TEMPLATE", help=helps["template"])(function)
    return click.option("--text-field", multiple=True, metavar="NAME", help=helps["fields"])(function)
