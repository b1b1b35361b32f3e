"""A plan: steps that each look at the cluster first, say what they would do and why, and do it only if needed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

log = logging.getLogger("osparse.deployer.plan")

Action = Literal["create", "change", "keep"]
_SIGN = {"create": "+", "change": "~", "keep": "="}


@dataclass(frozen=True)
class Finding:
    """What one step would do."""

    action: Action
    what: str
    """The thing it is about, by name."""
    why: str

    def __str__(self) -> str:
        return f"{_SIGN[self.action]} {self.action:6}  {self.what}  ({self.why})"


class Step(Protocol):
    """One thing that must be so. ``inspect`` reads only; ``apply`` may be interrupted anywhere and run again."""

    def inspect(self) -> Finding: ...

    def apply(self) -> None: ...


@dataclass(frozen=True)
class Plan:
    """Every step's finding, in order; ``changed`` says whether anything is to be done, or was."""

    mode: str
    why: str
    index: str
    alias: str
    findings: tuple[Finding, ...]

    @property
    def changes(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.action != "keep"]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "changes": len(self.changes)}

    def __str__(self) -> str:
        return "\n".join([f"mode {self.mode}: {self.why}", *(f"  {finding}" for finding in self.findings)])


def inspect_all(steps: Sequence[Step]) -> list[Finding]:
    return [step.inspect() for step in steps]


def apply_all(steps: Sequence[Step], findings: Sequence[Finding]) -> list[Finding]:
    """Do what is not yet so, in order. Once a step has changed something, later ones look again before they act."""
    done: list[Finding] = []
    changed = False
    for step, planned in zip(steps, findings, strict=True):
        finding = step.inspect() if changed else planned
        if finding.action != "keep":
            log.debug("%s", finding)  # the result shows the whole plan, once
            step.apply()
            changed = True
        done.append(finding)
    return done
