"""A plan: steps that inspect the cluster, say what they would do and why, and do it only where needed.

Nothing passes between steps but :class:`Made`: each step takes what the steps before it made and returns what it made.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Protocol

log = logging.getLogger("osparse.deployer.plan")

Action = Literal["create", "change", "keep"]
_SIGN = {"create": "+", "change": "~", "keep": "="}
GROUP, ENCODER, TOKENIZER = "model group", "encoder", "tokenizer"
"""What has an id that later steps name."""


def id_key(key: str, other_bundle: str | None) -> str:
    """The key of an id: that of the index's own bundle, or of another one, by 12 digits of its fingerprint."""
    return key if other_bundle is None else f"{key} {other_bundle}"


@dataclass(frozen=True)
class Made:
    """What steps found in place or made, for the steps after them and for the result."""

    ids: Mapping[str, str] = field(default_factory=dict)
    """:data:`GROUP`, :data:`ENCODER`, :data:`TOKENIZER` (:func:`id_key`) -> id on the cluster; without those that do
    not exist."""
    gate: tuple[str, ...] = ()
    """What was compared before the alias moved."""
    notes: tuple[str, ...] = ()
    copied_to: Mapping[str, int] = field(default_factory=dict)
    """The old index's number of the last write (``ClusterApi.writes``) when the last pass of the copy began."""

    def __or__(self, other: Made) -> Made:
        """Both; of an id and of a copy that both have, the other's."""
        ids, copied_to = {**self.ids, **other.ids}, other.copied_to or self.copied_to
        return Made(ids, self.gate + other.gate, self.notes + other.notes, copied_to)


@dataclass(frozen=True)
class Finding:
    """What one step would do."""

    action: Action
    what: str
    """Name of the object concerned."""
    why: str
    existing: Made = field(default_factory=Made)
    """What is in place already."""

    def to_json(self) -> dict[str, str]:
        return {"action": self.action, "what": self.what, "why": self.why}

    def __str__(self) -> str:
        return f"{_SIGN[self.action]} {self.action:6}  {self.what}  ({self.why})"


class Step(Protocol):
    """One state of the cluster that a deployment needs."""

    @property
    def takes(self) -> Collection[str]:
        """The ids that ``inspect`` looks at: where one is made anew, the step is inspected again before it is done."""

    def inspect(self, made: Made) -> Finding:
        """Read the cluster; change neither it nor the step."""

    def apply(self, made: Made) -> Made:
        """Bring the state about and return what was made; it may be interrupted anywhere and run again."""


@dataclass(frozen=True)
class OfOtherBundle:
    """A step for a bundle that encodes a further sparse field: its ids have keys of their own."""

    step: Step
    short: str
    """12 digits of the bundle's fingerprint."""

    @property
    def takes(self) -> Collection[str]:
        return [id_key(key, self.short) for key in self.step.takes]

    def inspect(self, made: Made) -> Finding:
        finding = self.step.inspect(self._own(made))
        return replace(finding, existing=self._others(finding.existing))

    def apply(self, made: Made) -> Made:
        return self._others(self.step.apply(self._own(made)))

    def _own(self, made: Made) -> Made:
        own = {key: made.ids.get(id_key(key, self.short)) for key in (GROUP, ENCODER, TOKENIZER)}
        return replace(made, ids={key: value for key, value in own.items() if value is not None})

    def _others(self, made: Made) -> Made:
        return replace(made, ids={id_key(key, self.short): value for key, value in made.ids.items()})


@dataclass(frozen=True)
class DeployPlan:
    """Every step's finding, in order; ``changes`` are those with something to do, or done."""

    mode: str
    why: str
    index: str
    alias: str
    findings: tuple[Finding, ...]

    @property
    def changes(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.action != "keep"]

    def to_json(self) -> dict[str, Any]:
        findings = [finding.to_json() for finding in self.findings]
        return {**asdict(self), "findings": findings, "changes": len(self.changes)}

    def __str__(self) -> str:
        return "\n".join([f"mode {self.mode}: {self.why}", *(f"  {finding}" for finding in self.findings)])


def inspect_all(steps: Sequence[Step]) -> list[Finding]:
    """The findings, in order; every step sees what is in place of those before it."""
    findings: list[Finding] = []
    existing = Made()
    for step in steps:
        findings.append(step.inspect(existing))
        existing |= findings[-1].existing
    return findings


def apply_all(steps: Sequence[Step], findings: Sequence[Finding]) -> tuple[list[Finding], Made]:
    """Do what the findings of :func:`inspect_all` ask for, in order; what was done, and what was made."""
    done: list[Finding] = []
    planned, made = Made(), Made()
    for step, expected in zip(steps, findings, strict=True):
        moved = any(made.ids.get(key) != planned.ids.get(key) for key in step.takes)
        finding = step.inspect(made) if moved else expected
        planned |= expected.existing
        made |= finding.existing
        if finding.action != "keep":
            log.debug("%s", finding)  # the result shows the whole plan, once
            made |= step.apply(made)
        done.append(finding)
    return done, made
