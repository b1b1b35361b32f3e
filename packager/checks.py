"""Checks: what a bundle must hold, each a function that an entry point of the group ``osparse.checks`` names.

    def check(subject: Subject) -> Iterable[Check]: ...

osparse's own are found the same way and run first, in the order of ``OWN``; another package's follow by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from osparse import plugins
from osparse.bundle import Bundle
from osparse.errors import InputError
from osparse.packager import formats, parity

Outcome = Literal["ok", "failed", "not run"]
Ring = Literal["contents", "a", "b", "c"]
Runtime = Literal["python", "djl"]
RUNTIMES: tuple[Runtime, ...] = ("python", "djl")
OWN = ("zips", "tokenizer", "idf", "runtimes", "twin", "djl")
"""osparse's checks in the order they run; later ones rely on what earlier ones have shown."""
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
    """Every check that is installed; the rest is left out once one about the contents failed.

    Raises:
        InputError: one of osparse's own is not installed, or another package's is broken.
    """
    found: list[Check] = []
    there = plugins.known(plugins.CHECKS)
    missing = [name for name in OWN if name not in there]
    if missing:
        raise InputError(f"the checks {', '.join(missing)} are not installed with osparse; run: pip install osparse")
    for name in (*OWN, *(name for name in there if name not in OWN)):
        found += plugins.load(plugins.CHECKS, name)(subject)
        if any(check.outcome == "failed" and check.ring == "contents" for check in found) and name == OWN[0]:
            break
    return found


def table(checks: Sequence[Check]) -> str:
    """One line per check."""
    rings = {"contents": "", "a": "(a)", "b": "(b)", "c": "(c)"}
    return parity.table([(rings[c.ring], c.name, c.outcome, c.detail) for c in checks])
