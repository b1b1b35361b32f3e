"""Checks: what a bundle must hold, each a function.

    def check(subject: Subject) -> Iterable[Check]: ...

osparse's own are listed in ``osparse.plugins.entry_points`` and run first, in that order, since later ones rely on
what earlier ones have shown. Those of other packages, entry points of the group ``osparse.checks``, follow by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from osparse.contracts.bundle import Bundle, Probe
from osparse.encoders.onnx_encoder import open_query_encoder, read_tokenizer
from osparse.errors import CheckError
from osparse.formula.query_encoder import QueryEncoder
from osparse.packager.compare import parity
from osparse.packager.export import formats
from osparse.plugins import entry_points

Outcome = Literal["ok", "failed", "not run"]
Group = Literal["contents", "graphs", "emulator", "server runtime"]
"""What a check looks at: the files in the zips, the packaged graphs against each other or the model, the answers of an
emulated server, the answers of the server's own runtime."""
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
    group: Group = "contents"


@dataclass(frozen=True)
class Subject:
    """What a check looks at."""

    bundle: Bundle
    """While ``package`` makes it, its manifest.json is not written yet."""
    runtime: Runtime = "python"
    graphs: bool = True
    """Whether to compare the graphs with each other."""
    opened: Mapping[str, parity.Runner] | None = None
    """Graphs that run already, by format."""

    @cached_property
    def runners(self) -> Mapping[str, parity.Runner]:
        """Format -> what runs its graph here: (B, T) ids and mask -> (B, V)."""
        if self.opened is not None:
            return self.opened
        return formats.open_runners({form: self.bundle.zip_path(form) for form in self.bundle.formats})

    @cached_property
    def probes(self) -> list[Probe]:
        """As :meth:`Bundle.probes` reads them."""
        return self.bundle.probes()

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """The raw token of each id, of tokenizer.zip."""
        return read_tokenizer(self.bundle.zip_path("tokenizer"))[1]

    @cached_property
    def query_encoder(self) -> QueryEncoder:
        """What ``osparse.formula`` gives queries, by the tables of tokenizer.zip."""
        return open_query_encoder(self.bundle.zip_path("tokenizer"))


Function = Callable[[Subject], Iterable[Check]]


def result(name: str, group: Group, problems: Sequence[str], detail: str) -> Check:
    """``failed`` with the first problems, or ``ok`` with the detail."""
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        return Check(name, "failed", "; ".join(problems[:SHOWN]) + more, group)
    return Check(name, "ok", detail, group)


def run_all(subject: Subject) -> list[Check]:
    """Every check that is installed; once the contents of a zip have failed, the others are listed as not run.

    Raises:
        InputError: another package's check is broken.
    """
    checks: list[Check] = []
    for name in entry_points.known(entry_points.CHECKS):
        if any(check.group == "contents" for check in failed(checks)):
            checks.append(Check(name, "not run", "left out, since the check above failed"))
        else:
            checks += entry_points.load(entry_points.CHECKS, name)(subject)
    return checks


def failed(checks: Sequence[Check]) -> list[Check]:
    """Those that do not hold."""
    return [check for check in checks if check.outcome == "failed"]


def require(subject: Subject, checks: Sequence[Check]) -> None:
    """Raises :class:`CheckError` with the whole table if a check failed."""
    if failed(checks):
        raise CheckError(f"{subject.bundle.path} does not hold:\n{table(checks)}\nmake it again with: osparse package")


def table(checks: Sequence[Check]) -> str:
    """One line per check."""
    return parity.table([(check.group, check.name, check.outcome, check.detail) for check in checks])
