"""The steps that wire the models: an ingest pipeline encodes documents, search pipelines name the tokenizer or fuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import CHUNK_TEXTS_FIELD, CHUNKS_FIELD, FIELD, EncoderPart
from osparse.deployer import names
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.fields.field_pipeline import encode_fields
from osparse.deployer.fields.text_rule import compose_processors
from osparse.deployer.index.layout import Serving
from osparse.deployer.plan import ENCODER, TOKENIZER, Action, Finding, Made, id_key
from osparse.encoders.onnx_encoder import open_query_encoder
from osparse.opensearch_templates import render
from osparse.rows.text_template import TEXT_FIELD

WEIGHTS = [0.3, 0.7]
"""Of BM25 and of the sparse score in a fused one."""


@dataclass(frozen=True)
class IngestPipeline:
    """Step: documents that arrive in the index are encoded."""

    api: ClusterApi
    bundle: names.Named
    serving: Serving = field(default_factory=Serving)
    words: int | None = None
    """Of one piece, where texts are encoded in pieces."""
    part: EncoderPart = "encoder"

    @property
    def takes(self) -> tuple[str, ...]:
        return _keys(ENCODER, self.serving)

    @property
    def name(self) -> str:
        return ingest_name(self.bundle, self.serving, self.part)

    def inspect(self, made: Made) -> Finding:
        existing = self.api.get_ingest_pipeline(self.name)
        body = self.body(made.ids) if {*self.takes} <= {*made.ids} else None
        return _compare(f"ingest pipeline {self.name}", existing, body)

    def apply(self, made: Made) -> Made:
        self.api.put_ingest_pipeline(self.name, self.body(made.ids))
        return Made()

    def body(self, ids: Mapping[str, str]) -> dict[str, Any]:
        """Args: ids: of the encoders, by :attr:`takes`."""
        values: dict[str, Any] = {"bundle": self.bundle.name, "text_field": TEXT_FIELD, "encoder_id": ids[ENCODER]}
        if self.serving.chunk_text:
            pieces = {"pieces": CHUNK_TEXTS_FIELD, "path": CHUNKS_FIELD, "token_limit": self.words}
            body = dict(render("ingest_text_chunking", **values, **pieces))
        else:
            body = dict(render("ingest_sparse_encoding", **values, field=FIELD))
        processors = self._of_fields(ids) if self.serving.sparse_fields else self._of_text(body["processors"])
        return {**body, "processors": [*compose_processors(self.serving.text_template), *processors]}

    def _of_text(self, processors: list[Any]) -> list[Any]:
        (encoding,) = (processor for processor in processors if "sparse_encoding" in processor)
        encoding["sparse_encoding"].update(self._choices())
        if self.part == "encoder":
            return processors
        del encoding["sparse_encoding"]["if"]  # a processor with a condition gets documents one by one
        return self._guarded(processors)

    def _of_fields(self, ids: Mapping[str, str]) -> list[Any]:
        """Of several sparse fields."""
        fields = self.serving.sparse_fields
        others = {one.bundle.short for one in fields if one.bundle is not None}
        encoders: dict[str | None, str] = {None: ids[ENCODER]}
        encoders |= {short: ids[id_key(ENCODER, short)] for short in others}
        remote = self.part != "encoder"
        return encode_fields(FIELD, fields, encoders, self._choices(), bundle=self.bundle.name, guarded=remote)

    def _guarded(self, processors: list[Any]) -> list[Any]:
        """ML Commons expands ``${parameters.NAME}`` in the texts of a remote call, and one refuses its whole batch."""
        fields = [TEXT_FIELD, *([CHUNK_TEXTS_FIELD] if self.serving.chunk_text else [])]
        part, join = render("ingest_guarded_text", text_field=TEXT_FIELD, fields=fields)["processors"]
        return [part, *processors, join]

    def _choices(self) -> dict[str, Any]:
        """Only what was asked for: an older server does not know the rest."""
        s = self.serving
        prune = {} if s.prune is None else prune_settings(s.prune)
        skip = {"skip_existing": True} if s.skip_existing else {}
        return {**prune, **skip, **({"batch_size": s.ingest_batch} if s.ingest_batch > 1 else {})}


def prune_settings(rule: str) -> dict[str, Any]:
    """What makes a processor, or a semantic field, prune by the rule of ``Deployment.prune``."""
    kind, value = rule.split()
    return {"prune_type": kind, "prune_ratio": int(value) if kind == "top_k" else float(value)}


@dataclass(frozen=True)
class SearchPipeline:
    """Step: a query by text needs no model id."""

    api: ClusterApi
    bundle: names.Named
    serving: Serving = field(default_factory=Serving)

    @property
    def takes(self) -> tuple[str, ...]:
        return _keys(TOKENIZER, self.serving)

    @property
    def name(self) -> str:
        return names.search_pipeline(self.bundle, self.serving.search_variant)

    def inspect(self, made: Made) -> Finding:
        body = self.body(made.ids) if {*self.takes} <= {*made.ids} else None
        return _compare(f"search pipeline {self.name}", self.api.get_search_pipeline(self.name), body)

    def apply(self, made: Made) -> Made:
        self.api.put_search_pipeline(self.name, self.body(made.ids))
        return Made()

    def body(self, ids: Mapping[str, str]) -> dict[str, Any]:
        """Args: ids: of the tokenizers, by :attr:`takes`."""
        template = "search_enricher_two_phase" if self.serving.two_phase else "search_enricher"
        path = self.serving.vector_field
        body = dict(render(template, bundle=self.bundle.name, field=path, tokenizer_id=ids[TOKENIZER]))
        by_field = body["request_processors"][0]["neural_query_enricher"]["neural_field_default_id"]
        for one in self.serving.sparse_fields:
            by_field[one.path] = ids[id_key(TOKENIZER, one.bundle.short if one.bundle else None)]
        return body


@dataclass(frozen=True)
class FusingPipeline:
    """Step: the search pipeline that hybrid queries name; the index's own pipeline stays the plain one.

    Its name is that of the alias and stays at an upgrade, so it is written once the alias has moved.
    """

    api: ClusterApi
    alias: str
    bundle: names.Named
    serving: Serving
    plain: SearchPipeline | None
    """Whose request processors come first; None in client mode, where queries bring their tokens."""

    @property
    def name(self) -> str:
        return names.fusing_pipeline(self.alias)

    @property
    def takes(self) -> tuple[str, ...]:
        return () if self.plain is None else self.plain.takes

    def inspect(self, made: Made) -> Finding:
        existing, what = self.api.get_search_pipeline(self.name), f"search pipeline {self.name}"
        if self.serving.hybrid == "none":
            action: Action = "keep" if existing is None else "change"
            return Finding(action, what, "hybrid is turned off: it is deleted")
        return _compare(what, existing, self.body(made) if {*self.takes} <= {*made.ids} else None)

    def apply(self, made: Made) -> Made:
        if self.serving.hybrid == "none":
            self.api.delete_search_pipeline(self.name)
        else:
            self.api.put_search_pipeline(self.name, self.body(made))
        return Made()

    def body(self, made: Made) -> dict[str, Any]:
        before = self.plain.body(made.ids)["request_processors"] if self.plain is not None else []
        values = {"weights": WEIGHTS} if self.serving.hybrid == "normalise" else {}
        template = f"search_{self.serving.hybrid}"
        return dict(render(template, bundle=self.bundle.name, request_processors=before, **values))


def _keys(key: str, serving: Serving) -> tuple[str, ...]:
    """Of the ids of every bundle's model."""
    others = [one.bundle.short for one in serving.sparse_fields if one.bundle is not None]
    return (key, *dict.fromkeys(id_key(key, short) for short in others))


def ingest_name(bundle: names.Named, serving: Serving, part: EncoderPart) -> str:
    """Of the ingest pipeline: a local and a remote encoder of one bundle have their own."""
    return names.ingest_pipeline(bundle, ("" if part == "encoder" else f"-{part}") + serving.ingest_variant)


def words_per_piece(bundle: Bundle) -> int:
    """How many words of the ``standard`` tokenizer fit into the model, by the ids the probes' words take."""
    encoder = open_query_encoder(bundle.zip_path("tokenizer"))
    rates = [
        len(encoder.ids(probe.text)) / len(words) for probe in bundle.probes() if len(words := probe.text.split()) > 1
    ]
    most = max([rate for rate in rates if rate >= 1], default=2.0)
    return max(8, int((bundle.head.max_length - 2) / most))


def _compare(what: str, existing: dict[str, Any] | None, body: dict[str, Any] | None) -> Finding:
    """What is to be done about a pipeline; ``body`` is None while the model that it names does not exist."""
    if existing is None:
        return Finding("create", what, "there is none of that name")
    if body is None:
        return Finding("change", what, "the model that it names is registered anew")
    parts = ("processors", "request_processors", "phase_results_processors")
    if all((existing.get(part) or []) == (body.get(part) or []) for part in parts):
        return Finding("keep", what, "exists, same processors")
    return Finding("change", what, "its processors differ")
