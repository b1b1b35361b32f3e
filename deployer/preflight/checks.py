"""What a look at the cluster before a change has to say: one sentence for each thing, and whether all of it is well."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["ok", "note", "blocked"]


@dataclass(frozen=True)
class Check:
    """One thing looked at; a blocked one would make the change fail, and its text says what to do."""

    level: Level
    text: str


@dataclass(frozen=True)
class Preflight:
    """Everything looked at."""

    checks: tuple[Check, ...]

    @classmethod
    def of(cls, *parts: Iterable[Check]) -> Preflight:
        return cls(tuple(check for part in parts for check in part))

    @property
    def blocked(self) -> list[str]:
        return [check.text for check in self.checks if check.level == "blocked"]

    def to_json(self) -> dict[str, Any]:
        return {"goes_through": not self.blocked, "checks": [asdict(check) for check in self.checks]}

    def __str__(self) -> str:
        lines = [f"  {check.level}: {check.text}" for check in self.checks]
        count = len(self.blocked)
        verdict = (
            f"it would not go through: {count} {'thing' if count == 1 else 'things'} to mend (blocked)"
            if count
            else "nothing stands in its way"
        )
        return "\n".join(["preflight:", *lines, f"  {verdict}"])
