"""Checks: what a bundle must hold, each a function.

    def check(subject: Subject) -> Iterable[Check]: ...

osparse's own are listed in ``osparse.plugins.entry_points`` and run first, in that order, since later ones rely on
what earlier ones
have shown; another package's, entry points of the group ``osparse.checks``, follow by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from osparse.contracts.bundle import Bundle
from osparse.packager.compare import parity
from osparse.packager.export import formats
from osparse.plugins import entry_points

Outcome = Literal["ok", "failed", "not run"]
Ring = Literal["contents", "a", "b", "c"]
Runtime = Literal["python", "djl"]
RUNTIMES: tuple[Runtime, ...] = ("python", "djl")
SHOWN = 3
"""Problems that one line of the table names."""


@dataclass(frozen=True)
class Check:
    """One line of a verification."""

    name: str
    outcome: Outcome
    detail: str
    ring: Ring = "contents"
    """``a`` the packaged graphs against each other or the model, ``b`` the twin, ``c`` the server's own runtime."""


@dataclass(frozen=True)
class Subject:
    """What a check looks at."""

    bundle: Bundle
    runtime: Runtime = "python"
    graphs: bool = True
    """Whether to compare the graphs with each other."""

    @cached_property
    def runners(self) -> Mapping[str, parity.Runner]:
        """Format -> what runs its graph here: (B, T) ids and mask -> (B, V)."""
        return formats.open_runners({form: self.bundle.zip_path(form) for form in self.bundle.formats})


Function = Callable[[Subject], Iterable[Check]]


def result(name: str, ring: Ring, problems: Sequence[str], detail: str) -> Check:
    """``failed`` with the first problems, or ``ok`` with the detail."""
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        return Check(name, "failed", "; ".join(problems[:SHOWN]) + more, ring)
    return Check(name, "ok", detail, ring)


def run_all(subject: Subject) -> list[Check]:
    """Every check that is installed; the rest is left out once the first, about the zips, failed.

    Raises:
        InputError: another package's check is broken.
    """
    found: list[Check] = []
    for number, name in enumerate(entry_points.known(entry_points.CHECKS)):
        found += entry_points.load(entry_points.CHECKS, name)(subject)
        if number == 0 and any(check.outcome == "failed" for check in found):
            break
    return found


def table(checks: Sequence[Check]) -> str:
    """One line per check."""
    rings = {"contents": "", "a": "(a)", "b": "(b)", "c": "(c)"}
    return parity.table([(rings[c.ring], c.name, c.outcome, c.detail) for c in checks])
