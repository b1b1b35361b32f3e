"""A model directory of osparse with another lexicon than the one that lies in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from osparse.contracts.model import Model
from osparse.formula.lexicon import Lexicon
from osparse.io.files import fingerprint


@dataclass(frozen=True)
class ModelWithTable(Model):
    """``path`` is the model's own, whose tokens and query weights are left aside."""

    table: Lexicon = field(kw_only=True)
    whole: str = field(kw_only=True)
    """Fingerprint of the model as it lies in its directory."""

    @cached_property
    def lexicon(self) -> Lexicon:
        return self.table

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint({"model": self.whole, "query weights": self.table.version})
