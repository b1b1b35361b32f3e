"""How a deploy sends models, and what it does where another index serves under the name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from osparse.deployer.index.gate import Gate
from osparse.deployer.load.encode_here import Where


@dataclass(frozen=True)
class ModelOptions:
    """How the models reach the cluster; without effect in client mode."""

    allow_settings: bool = False
    """Change the cluster settings that ML Commons needs; otherwise the call to make is reported."""
    via_url: str | None = None
    """Let the cluster fetch the zips from under this address instead of sending them in chunks."""
    encoder_url: str | None = None
    """Of the encoder in mode remote, as the nodes see it; None: the one that the index has already."""


@dataclass(frozen=True)
class Upgrade:
    """What happens where another bundle serves under the name; without effect where none does."""

    stage: bool = False
    """Make the new index, but copy nothing and leave the alias."""
    copy: bool = True
    """Copy the documents of the old index; without it the new index must have been loaded."""
    gate: Gate | None = None
    """Judged queries that the new index must answer about as well as the old one."""
    carry_aliases: bool = False
    """Move the aliases that others put on the old index along with the switch."""
    encode: Where = "auto"
    """Who encodes the copied documents: "here" (this machine), "cluster" (its pipeline) or "auto"."""
    encoded: Path | str | None = None
    """A folder or URL of shards that ``osparse encode`` made with the new bundle: a copied document whose text they
    have is not encoded again."""
