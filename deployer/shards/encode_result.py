"""What one run of `osparse encode` did."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from osparse.deployer.load.bulk import Failure
from osparse.deployer.shards.writer import ShardWritten


@dataclass(kw_only=True)
class EncodeResult(ShardWritten):
    """What one part did: the counts of all its shards, and more."""

    output: str
    part: str
    failed: int = 0
    """Rows of this part that are no documents; they are in no shard."""
    seconds: float = 0
    failures: str | None = None
    """Path of the file that lists every failure; None if there was none."""
    first_failures: list[Failure] = field(default_factory=list)

    def __str__(self) -> str:
        rate = f", {self.encoded / self.seconds:,.0f}/s" if self.encoded and self.seconds > 0 else ""
        reused = f", {self.reused:,} reused" if self.reused else ""
        lines = [
            f"{self.output}, part {self.part}: {self.shards:,} shards written, {self.unchanged:,} unchanged; "
            f"{self.documents:,} documents, {self.encoded:,} texts encoded{reused}, {self.failed:,} rows failed in "
            f"{self.seconds:.1f} s{rate}"
        ]
        if self.cut:
            lines.append(f"  {self.cut:,} texts are longer than the encoder reads: only their beginning was encoded")
        lines += [f"  {failure.id}: {failure.reason}" for failure in self.first_failures]
        return "\n".join([*lines, *([f"all failures: {self.failures}"] if self.failures else [])])

    def add(self, written: ShardWritten) -> None:
        """Count one more shard."""
        for name, value in asdict(written).items():
            setattr(self, name, getattr(self, name) + value)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
