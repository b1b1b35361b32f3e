"""What a deploy did, or would do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from osparse.contracts.deployment import Deployment
from osparse.deployer.plan import DeployPlan
from osparse.deployer.preflight.checks import Preflight


@dataclass(frozen=True)
class DeployResult:
    """What a deploy did, or with ``plan_only`` would do."""

    plan: DeployPlan
    deployment: Deployment
    applied: bool
    seconds: float
    snippets: str
    """Dev Tools lines to paste."""
    gate: list[str] = field(default_factory=list)
    """What was compared before the name moved; empty if it did not move."""
    notes: list[str] = field(default_factory=list)
    """What else is worth knowing."""
    staged_beside: str | None = None
    """The index that still serves, if the new one was only made."""
    preflight: Preflight | None = None
    """Of a plan: whether the cluster would let it through."""

    def __str__(self) -> str:
        changes = len(self.plan.changes)
        notes = [f"  note: {note}" for note in self.notes]
        if not self.applied:
            shown = "\n".join([str(self.plan), *notes, *([str(self.preflight)] if self.preflight else [])])
            return f"{shown}\n{changes} of {len(self.plan.findings)} steps to do; nothing was touched"
        done = f"{changes} changes" if changes else "nothing to change, everything was in place"
        lines = [str(self.plan), *(f"  gate: {line}" for line in self.gate)]
        lines += notes
        if self.staged_beside is not None:
            new, name = self.plan.index, self.plan.alias
            lines.append(
                f"{new} is ready beside {self.staged_beside}, which still serves {name} ({done}; "
                f"{self.seconds:.1f} s)\nload it: osparse index --index {new} DOCUMENTS; then let it take "
                f"over: osparse deploy BUNDLE --index {name} --no-copy"
            )
        else:
            lines.append(f"{self.plan.alias} is served ({done}; {self.seconds:.1f} s)")
        return "\n".join([*lines, "", "Dev Tools:", self.snippets])

    def to_json(self) -> dict[str, Any]:
        return {
            **self.plan.to_json(),
            "applied": self.applied,
            "fingerprint": self.deployment.fingerprint,
            "key_style": self.deployment.key_style,
            "seconds": round(self.seconds, 3),
            "gate": self.gate,
            "notes": self.notes,
            "staged_beside": self.staged_beside,
            "snippets": self.snippets,
            **({"preflight": self.preflight.to_json()} if self.preflight else {}),
        }
