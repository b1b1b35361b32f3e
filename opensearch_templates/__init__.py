"""Every mapping, pipeline and query osparse sends to OpenSearch, one JSON file each, to read and paste into Dev Tools.

:mod:`osparse.opensearch_templates.queries` chooses and fills the queries of a deployment.

A value in a file is fixed, or a ``{{placeholder}}``. A placeholder that is a whole string takes any JSON value; one
inside a longer string, or in a key, takes text.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import Any

from osparse.errors import InputError

__all__ = ["names", "placeholders", "render", "source"]

_SLOT = re.compile(r"\{\{([a-z0-9_]+)\}\}")


def names() -> list[str]:
    """The templates there are, by name (the file's without ``.json``)."""
    return sorted(file.name.removesuffix(".json") for file in _folder().iterdir() if file.name.endswith(".json"))


@cache
def source(name: str) -> str:
    """The template's text; raises :class:`InputError` for a name that is not one of :func:`names`."""
    if name not in _known():
        raise InputError(f"there is no template {name!r}; there are: {', '.join(_known())}")
    return str(_folder().joinpath(f"{name}.json").read_text(encoding="utf-8"))


def placeholders(name: str) -> set[str]:
    """What :func:`render` must be given."""
    return set(_SLOT.findall(source(name)))


def render(template: str, /, **values: Any) -> Any:
    """Fill a template; the result is plain JSON data.

    Raises:
        InputError: a placeholder without a value, a value without a placeholder, or a value JSON cannot hold.
    """
    wanted = placeholders(template)
    missing, unknown = sorted(wanted - set(values)), sorted(set(values) - wanted)
    if missing or unknown:
        raise InputError(
            f"template {template}: no value for {missing or 'none'}, no placeholder for {unknown or 'none'}"
        )
    try:
        json.dumps(values, allow_nan=False)
    except (TypeError, ValueError) as problem:
        raise InputError(f"template {template}: a value is not JSON: {problem}") from None
    return _fill(json.loads(source(template)), values, template)


def _fill(node: Any, values: dict[str, Any], name: str) -> Any:
    if isinstance(node, dict):
        return {_text(key, values, name): _fill(value, values, name) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill(value, values, name) for value in node]
    if isinstance(node, str):
        whole = _SLOT.fullmatch(node)
        return values[whole[1]] if whole else _text(node, values, name)
    return node


def _text(template: str, values: dict[str, Any], name: str) -> str:
    def one(match: re.Match[str]) -> str:
        value = values[match[1]]
        if not isinstance(value, str):
            raise InputError(f"template {name}: {match[1]} stands inside a text, so it must be a string, not {value!r}")
        return value

    return _SLOT.sub(one, template)


@cache
def _known() -> tuple[str, ...]:
    return tuple(names())


def _folder() -> Any:
    return resources.files(__name__)
