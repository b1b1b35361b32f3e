"""The steps that wire the models: an ingest pipeline encodes documents, a search pipeline names the tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from osparse.bundle import Bundle
from osparse.deployer import names
from osparse.deployer.cluster_api import ClusterApi
from osparse.deployer.ml_models import ServedModel
from osparse.deployer.plan import Finding
from osparse.deployment import FIELD
from osparse.opensearch_templates import render

TEXT_FIELD = "text"
"""The field that is encoded."""


@dataclass
class IngestPipeline:
    """Step: documents that arrive in the index are encoded."""

    api: ClusterApi
    bundle: Bundle
    encoder: ServedModel

    def inspect(self) -> Finding:
        what = f"ingest pipeline {names.ingest_pipeline(self.bundle)}"
        there = self.api.get_ingest_pipeline(names.ingest_pipeline(self.bundle))
        return _compare(what, there, self.body(), "processors")

    def apply(self) -> None:
        self.api.put_ingest_pipeline(names.ingest_pipeline(self.bundle), self.body())

    def body(self) -> dict[str, Any]:
        values = {"bundle": self.bundle.name, "text_field": TEXT_FIELD, "field": FIELD}
        return dict(render("ingest_sparse_encoding", encoder_id=self.encoder.id or "", **values))


@dataclass
class SearchPipeline:
    """Step: a query by text needs no model id."""

    api: ClusterApi
    bundle: Bundle
    tokenizer: ServedModel
    two_phase: bool = False

    @property
    def name(self) -> str:
        return names.search_pipeline(self.bundle, self.two_phase)

    def inspect(self) -> Finding:
        there = self.api.get_search_pipeline(self.name)
        return _compare(f"search pipeline {self.name}", there, self.body(), "request_processors")

    def apply(self) -> None:
        self.api.put_search_pipeline(self.name, self.body())

    def body(self) -> dict[str, Any]:
        template = "search_enricher_two_phase" if self.two_phase else "search_enricher"
        return dict(render(template, bundle=self.bundle.name, field=FIELD, tokenizer_id=self.tokenizer.id or ""))


def _compare(what: str, there: dict[str, Any] | None, wanted: dict[str, Any], key: str) -> Finding:
    if there is None:
        return Finding("create", what, "there is none of that name")
    if there.get(key) == wanted[key]:
        return Finding("keep", what, "exists, same processors")
    return Finding("change", what, "its processors differ")
