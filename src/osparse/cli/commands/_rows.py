"""What commands that read rows share: where rows come from, and what their text is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _PathType = click.ParamType[Path]
    _TextType = click.ParamType[str]
else:
    _PathType = _TextType = click.ParamType  # generic from click 8.5 on


class _Location(_PathType):
    """A path, a pattern or an address, whose slashes are kept."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from osparse.io.locations import location

        return location(value)


class _Template(_TextType):
    r"""A template in which \n and \t stand for a line end and a tab, as no shell writes them easily."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from osparse.rows.text_template import unescaped

        return unescaped(str(value))


LOCATION = _Location()


def window_weight_of(long_texts: str | None, window_weight: float | None) -> float | None:
    """What --long-texts and --window-weight ask for; raises :class:`click.UsageError` where they contradict."""
    from osparse.encoders.windows import LATER_WEIGHT

    if window_weight is not None and long_texts != "windows":
        raise click.UsageError("--window-weight goes with --long-texts windows; give that too")
    return (window_weight or LATER_WEIGHT) if long_texts == "windows" else None


def row_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --id-field, the options of :func:`text_options`, --exclude and --rename."""
    helps = {
        "id": "Field of the id in the rows.  [default: id or _id]",
        "exclude": "Do not store this field (a.b: of the object a).",
        "rename": "Another name for a field; all options use the new one.",
    }
    function = click.option("--rename", multiple=True, metavar="OLD=NEW", help=helps["rename"])(function)
    function = click.option("--exclude", multiple=True, metavar="FIELD", help=helps["exclude"])(function)
    return click.option("--id-field", metavar="NAME", help=helps["id"])(text_options(function))


def text_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --text-field, several times, and --template."""
    helps = {
        "fields": "Field of the text; several make the text together.  [default: text]",
        "template": r'How fields make the text, as "{title}\n{body}".  [default: a line each]',
    }
    function = click.option("--template", type=_Template(), metavar="TEMPLATE", help=helps["template"])(function)
    return click.option("--text-field", multiple=True, metavar="NAME", help=helps["fields"])(function)
