"""An index of the test server: its documents, settings and mappings, and what it refuses to store."""

from __future__ import annotations

import re
import time
import uuid
from typing import Any

from mlcommons_refusals import Refused
from mlcommons_settings import flat_settings, nested_settings
from mlcommons_values import (
    field_type,
)

from osparse.formula.seismic_ceiling import DEFAULT_CEILINGS
from osparse.packager.checks.lucene_emulator import Seismic

MIN_NORMAL = 1.1754944e-38
SEGMENT = 4
"""Documents of each segment before a merge."""


class Index:
    """One index: its definition and its documents, visible at once."""

    def __init__(self, name: str, body: dict[str, Any]) -> None:
        self.name = name
        self.settings: dict[str, Any] = flat_settings(body.get("settings", {}))
        self.mappings: dict[str, Any] = body.get("mappings", {})
        self.aliases: dict[str, Any] = dict(body.get("aliases", {}))
        self.uuid = uuid.uuid4().hex
        self.created = time.time_ns() // 1000  # finer than the server's milliseconds, so that order is certain
        self.documents: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, int] = {}
        self.seq_nos: dict[str, int] = {}
        self.writes = 0  # deletions too
        self.closed = False
        self.merged: int | None = None
        self.postings: dict[str, str] = {}

    def fields(self, kind: str) -> set[str]:
        return {name for name, p in self.mappings.get("properties", {}).items() if p.get("type") == kind}

    @property
    def segment_documents(self) -> int:
        """Of its largest segment."""
        number = len(self.documents)
        return min(number, SEGMENT) if self.merged is None else -(-number // max(1, self.merged))

    def seismic_parameters(self, field: str) -> dict[str, Any]:
        return dict(self.mappings["properties"][field].get("method", {}).get("parameters", {}))

    def seismic(self, field: str) -> Seismic:
        given = self.seismic_parameters(field)
        ingest, search = (
            float(given.get(f"quantization_ceiling_{part}", default)) for part, default in DEFAULT_CEILINGS.items()
        )
        return Seismic(ingest, search)

    def approximate(self, field: str) -> bool:
        """Whether SEISMIC searches its largest segment."""
        return self.segment_documents >= int(self.seismic_parameters(field).get("approximate_threshold", 1_000_000))

    def has_weights(self, path: str) -> bool:
        """Whether neural_sparse can ask a path; a semantic field ``text`` brings ``text_semantic_info.embedding``."""
        properties, (name, _, below) = self.mappings.get("properties", {}), path.partition(".")
        if below == "embedding" and name.removesuffix("_semantic_info") in self.fields("semantic"):
            return True
        return field_type(properties, path) in ("rank_features", "sparse_vector")

    def delete(self, document_id: str) -> bool:
        """Whether the document was there; the deletion has a sequence number of its own."""
        self.check_block()
        self.writes += 1
        self.seq_nos.pop(document_id, None)
        return self.documents.pop(document_id, None) is not None

    def check_block(self) -> None:
        """Raises :class:`Refused` while the index refuses writes."""
        if str(self.settings.get("blocks.write", "false")).lower() == "true":
            reason = f"index [{self.name}] blocked by: [FORBIDDEN/8/index write (api)];"
            raise Refused(403, "cluster_block_exception", reason)

    def put(self, document_id: str, source: dict[str, Any]) -> int:
        """Store it; returns the version. Raises :class:`Refused` for a feature the field cannot hold."""
        self.check_block()
        unknown = sorted(source.keys() - self.mappings.get("properties", {}).keys())
        if unknown and self.mappings.get("dynamic") == "strict":
            reason = f"mapping set to strict, dynamic introduction of [{unknown[0]}] within [_doc] is not allowed"
            raise Refused(400, "strict_dynamic_mapping_exception", reason)
        if self.mappings.get("_routing", {}).get("required"):
            reason = f"routing is required for [{self.name}]/[{document_id}]"
            raise Refused(400, "routing_missing_exception", reason)
        for field in self.fields("rank_features") & source.keys():
            for token, weight in source[field].items():
                cause = _wrong_weight(field, token, weight)
                if cause:
                    raise Refused(
                        400, "mapper_parsing_exception", "failed to parse", ("illegal_argument_exception", cause)
                    )
        for field in self.fields("sparse_vector") & source.keys():
            for token, weight in source[field].items():
                cause = _wrong_vector(field, token, weight)
                if cause:
                    reason = (
                        f"failed to parse field [{field}] of type [sparse_vector] in document with id '{document_id}'. "
                        f"Preview of field's value: '{weight}'"
                    )
                    raise Refused(400, "mapper_parsing_exception", reason, ("illegal_argument_exception", cause))
            self._check_options(field, source[field])
        self.documents[document_id] = source
        self.versions[document_id] = self.versions.get(document_id, 0) + 1
        self.seq_nos[document_id] = self.writes
        self.writes += 1
        return self.versions[document_id]

    def _check_options(self, field: str, vector: dict[str, float]) -> None:
        """A field of an index has one kind of postings, which its first value decides: an empty vector has none."""
        options = "DOCS_AND_FREQS" if vector else "NONE"
        expected = self.postings.setdefault(field, options)
        if options != expected:
            reason = (
                f"Inconsistency of field data structures across documents for field [{field}] of doc "
                f"[{len(self.documents)}]. index options: expected '{expected}', but it has '{options}'."
            )
            raise Refused(400, "illegal_argument_exception", reason)

    def check_version(self, action: dict[str, Any]) -> None:
        """Raises :class:`Refused` if the action is for another state of its document than the stored one."""
        wanted, there = action.get("if_seq_no"), self.seq_nos.get(action["_id"])
        if wanted is not None and wanted != there:
            reason = (
                f"[{action['_id']}]: version conflict, required seqNo [{wanted}], current document has seqNo [{there}]"
            )
            raise Refused(409, "version_conflict_engine_exception", reason)

    def shown_by(self, expand: str) -> bool:
        """Whether a wildcard names it: ``expand`` is the request's expand_wildcards."""
        states = set(expand.split(","))
        hidden = str(self.settings.get("hidden", "false")).lower() == "true"
        state = "closed" if self.closed else "open"
        return "all" in states or (state in states and (not hidden or "hidden" in states))

    def models_named(self) -> dict[str, Any]:
        """By its semantic fields."""
        fields = self.mappings.get("properties", {}).items()
        return {name: {k: v for k, v in f.items() if k in ("model_id", "search_model_id")} for name, f in fields}

    def change_settings(self, body: dict[str, Any]) -> None:
        for name, value in flat_settings(body).items():
            self.settings.pop(name, None)
            if value is not None:
                self.settings[name] = value

    def all_settings(self) -> dict[str, Any]:
        """With those that the server adds."""
        closed = {"verified_before_close": "true"} if self.closed else {}
        return {**self.settings, **closed, "creation_date": self.created, "uuid": self.uuid}

    def describe(self) -> dict[str, Any]:
        settings = nested_settings(self.all_settings())
        return {"aliases": self.aliases, "mappings": dict(self.mappings), "settings": settings}


def _wrong_weight(field: str, token: str, weight: float) -> str:
    if weight >= MIN_NORMAL:
        return ""
    return (
        f"featureValue must be a positive normal float, got: {float(weight)} for feature {token} on "
        f"field {field} which is less than the minimum positive normal float: 1.1754944E-38"
    )


def _wrong_vector(field: str, token: str, weight: float) -> str:
    if not re.fullmatch(r"-?\d+", token):
        return "[sparse_vector] fields should be valid integer"
    if token.startswith("-"):
        return "[sparse_vector] fields should be text of non-negative integer"
    return _wrong_weight(field, token, weight)
