"""Parts that other packages bring, found by entry points; osparse's own take the same road.

    [project.entry-points."osparse.formats"]
    my-format = "my_package.formats:MyFormat"

Groups: ``osparse.architectures`` (masked-LM heads), ``osparse.formats`` (what an encoder is packaged as) and
``osparse.checks`` (what a bundle must hold). docs/plugins.md shows one of each.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from osparse.errors import InputError

FORMATS = "osparse.formats"
CHECKS = "osparse.checks"


@cache
def known(group: str) -> dict[str, EntryPoint]:
    """Name -> entry point, by name; none is imported. Raises :class:`InputError` if two packages claim one name."""
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: (entry.name, entry.value)):
        if entry.name in found and found[entry.name].value != entry.value:
            raise InputError(
                f"{entry.name!r} is claimed by {found[entry.name].value} and {entry.value} of {group}; "
                "uninstall one of the packages"
            )
        found[entry.name] = entry
    return found


@cache
def load(group: str, name: str) -> Any:
    """What the entry point ``name`` names, imported; raises :class:`InputError` for an unknown or broken one."""
    there = known(group)
    if name not in there:
        raise InputError(
            f"{name!r} is not among the entry points {group}: {', '.join(there) or 'none is installed'}. A package "
            f"that brings it has a line {name} = 'module:OBJECT' there; if osparse itself was updated, install it again"
        )
    try:
        return there[name].load()
    except (ImportError, AttributeError) as problem:
        raise InputError(
            f"{name!r}: {there[name].value} of the entry points {group} cannot be imported: {problem}; "
            "install it again, or uninstall its package"
        ) from None
