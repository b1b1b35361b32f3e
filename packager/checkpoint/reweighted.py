"""A model directory of osparse with other query weights, such as those of the documents that it is to search."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path

from osparse.contracts.model import Model
from osparse.formula.lexicon import Lexicon
from osparse.io.files import fingerprint


@dataclass(frozen=True)
class ReweightedModel(Model):
    """``path`` is the model's, whose idf.json is left aside."""

    table: Lexicon = field(kw_only=True)
    whole: str = field(kw_only=True)
    """Fingerprint of the model with its own query weights."""

    @cached_property
    def lexicon(self) -> Lexicon:
        return self.table

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint({"model": self.whole, "head": asdict(self.head), "query weights": self.table.version})


def reweighted(model: Model, idf: Path) -> ReweightedModel:
    """The model with the weights of an idf.json; raises :class:`ModelError` if that is of another tokenizer."""
    parts = {part.name: getattr(model, part.name) for part in fields(Model)}
    table = Lexicon.open(model.path / "tokenizer.json", idf)
    return ReweightedModel(**{**parts, "idf": {"from": idf.name}}, table=table, whole=model.fingerprint)
