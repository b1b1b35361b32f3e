"""A model directory of osparse with other query weights, such as those of the documents that it is to search."""

from __future__ import annotations

from dataclasses import fields
from functools import cached_property
from pathlib import Path

from osparse.contracts.model import Model
from osparse.formula.lexicon import Lexicon
from osparse.io.files import fingerprint
from osparse.packager.checkpoint.model_with_table import ModelWithTable


class ReweightedModel(ModelWithTable):
    """With query weights of another idf.json."""

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint({"model": self.whole, "head": self.head.settings(), "query weights": self.table.version})


def reweighted(model: Model, idf: Path) -> ReweightedModel:
    """The model with the weights of an idf.json; raises :class:`ModelError` if that is of another tokenizer."""
    parts = {part.name: getattr(model, part.name) for part in fields(Model)}
    table = Lexicon.open(model.path / "tokenizer.json", idf)
    return ReweightedModel(**{**parts, "idf": {"from": idf.name}}, table=table, whole=model.fingerprint)
