"""The parts of osparse that other packages can add to: osparse's own are listed here, the others are entry points.

    [project.entry-points."osparse.formats"]
    my-format = "my_package.formats:MyFormat"

Groups: ``osparse.architectures`` (masked-LM heads), ``osparse.formats`` (what an encoder is packaged as) and
``osparse.checks`` (what a bundle must hold). docs/plugins.md shows one of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from osparse.errors import InputError
from osparse.plugins.load_object import load_object

ARCHITECTURES = "osparse.architectures"
FORMATS = "osparse.formats"
CHECKS = "osparse.checks"
OWN: dict[str, dict[str, str]] = {
    ARCHITECTURES: {
        "bert": "osparse.masked_lm.architectures:BERT",
        "roberta": "osparse.masked_lm.architectures:ROBERTA",
        "xlm-roberta": "osparse.masked_lm.architectures:ROBERTA",
        "distilbert": "osparse.masked_lm.architectures:DISTILBERT",
        "modernbert": "osparse.masked_lm.architectures:MODERNBERT",
        "electra": "osparse.masked_lm.architectures:ELECTRA",
        "new": "osparse.masked_lm.gte:GTE",
    },
    FORMATS: {
        "torchscript": "osparse.packager.export.formats:TorchScript",
        "onnx": "osparse.packager.export.formats:Onnx",
    },
    CHECKS: {
        "zips": "osparse.packager.checks.contents:zips",
        "tokenizer": "osparse.packager.checks.contents:tokenizer",
        "idf": "osparse.packager.checks.contents:idf",
        "graphs": "osparse.packager.checks.runtimes:graphs",
        "emulator": "osparse.packager.checks.runtimes:emulator",
        "server runtime": "osparse.packager.checks.runtimes:server_runtime",
    },
}
"""Group -> name -> module:object, in the order in which they are used. Written in code, not as entry points, so that a
checkout is complete whatever the metadata of an installed osparse says."""


def claims(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    """Name -> what claims it: osparse's own in order, then other packages' by name; none is imported."""
    claimed: dict[str, tuple[EntryPoint, ...]]
    claimed = {name: (EntryPoint(name, value, group),) for name, value in OWN[group].items()}
    for entry in sorted(entry_points(group=group), key=lambda entry: (entry.name, entry.value)):
        others = claimed.get(entry.name, ())
        if not _of_osparse(entry) and entry.value not in [other.value for other in others]:
            claimed[entry.name] = (*others, entry)
    return claimed


def _of_osparse(entry: EntryPoint) -> bool:
    """Versions before 0.2 listed their own parts as entry points; their metadata may still be installed."""
    return entry.dist is not None and entry.dist.name == "osparse"


@cache
def known(group: str) -> dict[str, EntryPoint]:
    """Name -> entry point, osparse's own first; none is imported.

    Raises :class:`InputError` if two packages claim one name.
    """
    return {name: _only(group, name, entries) for name, entries in claims(group).items()}


@cache
def load(group: str, name: str) -> Any:
    """What the entry point ``name`` names, imported; raises :class:`InputError` for an unknown or broken one.

    Two packages that claim another name of the group are no obstacle.
    """
    claimed = claims(group)
    if name not in claimed:
        raise InputError(
            f"{name!r} is not among {group}: {', '.join(claimed)}. A package that brings it has an entry point "
            f"{name} = 'module:OBJECT' in that group"
        )
    entry = _only(group, name, claimed[name])
    try:
        return load_object(entry.value, "install its package again, or uninstall it")
    except InputError as problem:
        raise InputError(f"{name!r} of the entry points {group}: {problem}") from problem


def _only(group: str, name: str, entries: Sequence[EntryPoint]) -> EntryPoint:
    if len(entries) > 1:
        raise InputError(
            f"{name!r} is claimed by {' and '.join(entry.value for entry in entries)} of {group}; "
            "uninstall one of the packages"
        )
    return entries[0]
