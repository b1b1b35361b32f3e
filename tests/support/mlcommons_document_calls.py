"""Documents: written one by one and in bulk, updated, read."""

from __future__ import annotations

import json
from typing import Any

from mlcommons_http import Request
from mlcommons_index import Index
from mlcommons_ingest import Ingestion, Place
from mlcommons_refusals import Refused, document_missing, no_such_index
from mlcommons_templates import Templates


class DocumentCalls(Ingestion, Templates):
    """``asked`` is the name that the request gives: an index, or an alias of one."""

    def _written(self, asked: str) -> Index:
        """The open index to write to; one that is not there is made, unless ``auto_create`` is off."""
        try:
            return self._open(asked)[0]
        except Refused as refused:
            if refused.kind != "index_not_found_exception":
                raise
        if not self.auto_create:
            raise no_such_index(asked)
        return self.indices.setdefault(asked, Index(asked, self.from_templates(asked, {})))

    def document(self, request: Request) -> Any:
        name, document_id = request.parts
        if request.method == "PUT":
            index = self._written(name)
            place = Place(index, name, document_id)
            version = index.put(document_id, self.ingested(place, request.json, request.query.get("pipeline")))
            return 201 if version == 1 else 200, {"_index": index.name, "_id": document_id, **_result(version)}
        index = self._open(name)[0]
        if request.method == "DELETE":
            there = index.delete(document_id)
            result = "deleted" if there else "not_found"
            return (200 if there else 404), {"_index": index.name, "_id": document_id, "result": result}
        if document_id not in index.documents:
            return 404, {"_index": index.name, "_id": document_id, "found": False}
        return {"_index": index.name, "_id": document_id, "found": True, "_source": index.documents[document_id]}

    def update(self, request: Request) -> Any:
        """The merged document goes through the index's pipeline."""
        name, document_id = request.parts
        index = self._open(name)[0]
        if document_id not in index.documents:
            raise document_missing(index.name, document_id)
        merged = {**index.documents[document_id], **request.json["doc"]}
        version = index.put(document_id, self.ingested(Place(index, name, document_id), merged))
        return {"_index": index.name, "_id": document_id, **_result(version)}

    def update_by_query(self, request: Request) -> Any:
        index, failures = self._searchable(request.parts[0])[0][0], list[Any]()
        for i, source in list(index.documents.items()):
            try:
                index.put(i, self.ingested(Place(index, index.name, i), source))
            except Refused as refused:
                cause = {"index": index.name, "id": i, "status": refused.status, "cause": refused.error()}
                failures.append(cause)
        status = failures[0]["status"] if failures else 200
        return status, {"updated": len(index.documents) - len(failures), "failures": failures}

    def mget(self, request: Request) -> Any:
        try:
            index = self._open(request.parts[0])[0]
        except Refused as refused:
            there = {"_index": refused.details.get("index", request.parts[0]), "error": refused.with_root()}
            return {"docs": [{**there, "_id": i} for i in request.json["ids"]]}
        return {"docs": [_read(index, i, request.query) for i in request.json["ids"]]}

    def bulk(self, request: Request) -> Any:
        """An action that is refused is an item of its own; the others are done."""
        lines = [json.loads(line) for line in request.data.splitlines() if line.strip()]
        _check_upserts(lines)
        self.call_remote_in_batches(self._to_encode(request, lines))
        rows, items, refused_items = iter(lines), list[Any](), list[Any]()
        for action in rows:
            ((kind, meta),) = action.items()
            asked = meta.get("_index") or request.parts[0]
            source = next(rows) if kind != "delete" else {}
            item: dict[str, Any] = {"_index": asked, "_id": meta["_id"]}
            try:
                index = self._written(asked) if kind != "delete" else self._open(asked)[0]
                named = meta.get("pipeline") or request.query.get("pipeline")
                source = self._to_store(kind, Place(index, asked, meta["_id"]), source, named)
                item["_index"] = index.name  # what a pipeline refuses stands under the name that was asked for
                item |= _done(kind, index, meta, source)
            except Refused as refused:
                item |= {"status": refused.status, "error": refused.error()}
                if self.called:  # what a batching pipeline refuses comes before the rest
                    refused_items.append({kind: item})
                    continue
            items.append({kind: item})
        items = refused_items + items
        self.called.clear()
        return {"took": 1, "errors": any("error" in item for row in items for item in row.values()), "items": items}

    def _to_encode(self, request: Request, lines: list[Any]) -> list[tuple[Place, dict[str, Any], str | None]]:
        """The documents of a bulk's index and create actions, with the pipeline that each names."""
        rows, found = iter(lines), list[tuple[Place, dict[str, Any], str | None]]()
        for action in rows:
            ((kind, meta),) = action.items()
            source = next(rows) if kind != "delete" else {}
            if kind in ("index", "create"):
                asked = meta.get("_index") or request.parts[0]
                try:
                    place = Place(self._open(asked)[0], asked, meta["_id"])
                except Refused:
                    continue
                found.append((place, source, meta.get("pipeline") or request.query.get("pipeline")))
        return found

    def _to_store(self, kind: str, place: Place, source: dict[str, Any], named: str | None) -> dict[str, Any]:
        """An update's partial document is merged, and no pipeline sees the result, unless it makes the document."""
        if kind == "delete":
            return source
        if kind == "update" and "script" in source:
            return _scripted(place, source)
        if kind == "update" and place.stored:
            return {**place.stored, **source["doc"]}
        if kind == "update" and not source.get("doc_as_upsert"):
            raise document_missing(place.index.name if place.index else "", place.id)
        return self.ingested(place, source["doc"] if kind == "update" else source, named)


def _scripted(place: Place, source: dict[str, Any]) -> dict[str, Any]:
    """What osparse's script writes, past every pipeline, also that of a semantic field."""
    if source["script"]["source"] != "ctx._source = params.source":
        raise Refused(400, "script_exception", "compile error")
    if not place.stored and not source.get("scripted_upsert"):
        raise document_missing(place.index.name if place.index else "", place.id)
    stored: dict[str, Any] = source["script"]["params"]["source"]
    return stored


def _check_upserts(rows: list[dict[str, Any]]) -> None:
    """The whole request is refused."""
    reason = "upsert requests don't support `if_seq_no` and `if_primary_term`"
    pairs = zip(rows, rows[1:], strict=False)
    if any("if_seq_no" in row.get("update", {}) and "upsert" in source for row, source in pairs):
        raise Refused(400, "action_request_validation_exception", f"Validation Failed: 1: {reason};")


def _done(kind: str, index: Index, meta: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
    """A bulk action's result. Raises :class:`Refused` if it is not for the document's present state."""
    document_id = meta["_id"]
    there = document_id in index.documents
    if kind == "delete":
        index.delete(document_id)
        return {"result": "deleted" if there else "not_found", "status": 200 if there else 404}
    if kind == "create" and there:
        version = index.versions[document_id]
        reason = f"[{document_id}]: version conflict, document already exists (current version [{version}])"
        raise Refused(409, "version_conflict_engine_exception", reason, index=index.name)
    index.check_version(meta)
    version = index.put(document_id, source)
    return {**_result(version), "status": 201 if version == 1 else 200}


def _result(version: int) -> dict[str, Any]:
    return {"_version": version, "result": "created" if version == 1 else "updated"}


def _read(index: Index, document_id: str, query: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {"_index": index.name, "_id": document_id, "found": document_id in index.documents}
    if not row["found"]:
        return row
    source = index.documents[document_id]
    if query.get("_source") != "false":
        left = query.get("_source_excludes", "").split(",")
        shown = {name: value for name, value in source.items() if name not in left}
        row |= {"_source": shown, "_seq_no": index.seq_nos[document_id], "_primary_term": 1}
    stored = query.get("stored_fields")
    return {**row, "fields": {stored: [source[stored]]}} if stored and stored in source else row
