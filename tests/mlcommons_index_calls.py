"""Pipelines, indices, aliases and documents, as OpenSearch with neural-search answers."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from typing import Any

from mlcommons_http import Request
from mlcommons_ingest import Ingestion, check_processor
from mlcommons_search import Index, Refused, no_such_index, search
from mlcommons_templates import Templates


class IndexCalls(Ingestion, Templates):
    """Everything with an index or a pipeline in its path."""

    # pipelines

    def ingest_pipeline(self, request: Request) -> Any:
        if request.method == "PUT":
            for processor in request.json.get("processors", []):
                check_processor(processor)
        return self._stored(self.ingest, request)

    def search_pipeline(self, request: Request) -> Any:
        if request.method == "PUT":
            for processor in request.json.get("phase_results_processors", []):
                combination = processor.get("normalization-processor", {}).get("combination", {})
                weights = combination.get("parameters", {}).get("weights")
                if weights and abs(sum(weights) - 1) > 1e-6:
                    reason = f"sum of weights for combination must be equal to 1.0, submitted weights: {weights}"
                    raise Refused(400, "illegal_argument_exception", reason)
            for processor in request.json.get("request_processors", []):
                ((kind, _),) = processor.items()
                if kind not in ("neural_query_enricher", "neural_sparse_two_phase_processor", "filter_query"):
                    raise Refused(400, "illegal_argument_exception", f"Invalid processor type {kind}")
        return self._stored(self.pipelines, request)

    def _stored(self, store: dict[str, dict[str, Any]], request: Request) -> Any:
        name = request.parts[0]
        if request.method == "PUT":
            store[name] = request.json
            return {"acknowledged": True}
        if request.method == "DELETE":
            if name not in store:
                raise Refused(404, "resource_not_found_exception", f"pipeline [{name}] is missing")
            del store[name]
            return {"acknowledged": True}
        found = {known: body for known, body in store.items() if fnmatch(known, name)}
        return found or (404, {})

    def simulate(self, request: Request) -> Any:
        pipeline = self.ingest[request.parts[0]]
        docs = []
        for row in request.json["docs"]:
            try:
                docs.append({"doc": {"_index": "_index", "_source": self.through(pipeline, row["_source"])}})
            except Refused as refused:
                docs.append({"error": refused.error()})
        return {"docs": docs}

    # indices and documents

    def index_put(self, request: Request) -> Any:
        name = request.parts[0]
        if name in self.indices:
            reason = f"index [{name}/uuid] already exists"
            raise Refused(400, "resource_already_exists_exception", reason)
        if any(name in index.aliases for index in self.indices.values()):
            reason = f"Invalid index name [{name}], already exists as alias"
            raise Refused(400, "invalid_index_name_exception", reason)
        self.indices[name] = Index(name, self.from_templates(name, request.json or {}))
        return {"acknowledged": True, "shards_acknowledged": True, "index": name}

    def index_get(self, request: Request) -> Any:
        return {index.name: index.describe() for index in self._indices(request.parts[0])}

    def index_delete(self, request: Request) -> Any:
        if request.parts[0] not in self.indices:
            raise no_such_index(request.parts[0])
        del self.indices[request.parts[0]]
        return {"acknowledged": True}

    def index_close(self, request: Request) -> Any:
        for index in self._indices(request.parts[0]):
            index.closed = request.parts[1] == "close"
        return {"acknowledged": True, "shards_acknowledged": True}

    def settings_of_index(self, request: Request) -> Any:
        """Flat, as asked for; a value of null takes a setting away."""
        if request.parts[0] == "_all":  # only what filter_path names, nested, as osparse asks for it
            return {name: {"settings": {"index": i.pipelines_named()}} for name, i in self.indices.items()}
        indices = self._indices(request.parts[0])
        if request.method == "PUT":
            for key, value in request.json.items():
                name = key.removeprefix("index.")
                for index in indices:
                    index.settings.pop(name, None)
                    if value is not None:
                        index.settings[name] = value
            return {"acknowledged": True}
        return {
            i.name: {"settings": {f"index.{k}": v for k, v in i.describe()["settings"]["index"].items()}}
            for i in indices
        }

    def mapping_get(self, request: Request) -> Any:
        if request.method == "PUT":
            for index in self._indices(request.parts[0]):
                index.mappings = {**index.mappings, **request.json}
            return {"acknowledged": True}
        if request.parts[0] == "_all" or "*" in request.parts[0]:
            pattern = request.parts[0].replace("_all", "*")
            shown = request.query.get("expand_wildcards", "open")
            wanted = request.query.get("filter_path") == "*.mappings._meta"
            if "model_id" in request.query.get("filter_path", ""):
                return {name: {"mappings": index.models_named()} for name, index in self.indices.items()}
            return {
                name: {"mappings": {"_meta": index.mappings["_meta"]} if wanted else index.mappings}
                for name, index in self.indices.items()
                if fnmatch(name, pattern) and index.shown_by(shown) and ("_meta" in index.mappings or not wanted)
            }  # fmt: skip
        return {index.name: {"mappings": index.mappings} for index in self._indices(request.parts[0])}

    def alias_of_index(self, request: Request) -> Any:
        return {index.name: {"aliases": index.aliases} for index in self._indices(request.parts[0])}

    def alias_get(self, request: Request) -> Any:
        alias = request.parts[0]
        found: dict[str, Any] = {n: {"aliases": {alias: {}}} for n, i in self.indices.items() if alias in i.aliases}
        return found or (404, {"error": f"alias [{alias}] missing", "status": 404})

    def aliases_post(self, request: Request) -> Any:
        for action in request.json["actions"]:
            ((kind, body),) = action.items()
            if body["index"] not in self.indices:
                raise no_such_index(body["index"])
            aliases = self.indices[body["index"]].aliases
            if kind == "remove" and body["alias"] not in aliases:
                raise Refused(404, "aliases_not_found_exception", f"aliases [{body['alias']}] missing")
            if kind == "remove":
                del aliases[body["alias"]]
            else:
                aliases[body["alias"]] = {k: v for k, v in body.items() if k not in ("index", "alias")}
        return {"acknowledged": True}

    def refresh(self, request: Request) -> Any:
        self._open(request.parts[0])
        return {"_shards": {"total": 1, "successful": 1, "failed": 0}}

    def store_stats(self, request: Request) -> Any:
        size = sum(len(json.dumps(d)) for index in self._open(request.parts[0]) for d in index.documents.values())
        return {"_all": {"primaries": {"store": {"size_in_bytes": size}}}}

    def count(self, request: Request) -> Any:
        return {"count": sum(len(index.documents) for index in self._searchable(request.parts[0])[0])}

    def document(self, request: Request) -> Any:
        name, document_id = request.parts
        if request.method == "PUT":
            try:
                index = self._indices(name)[0]
            except Refused:
                index = self.indices.setdefault(name, Index(name, self.from_templates(name, {})))
            self._open(index.name)
            version = index.put(document_id, self.ingested(index, request.json, name))
            result = "created" if version == 1 else "updated"
            status = 201 if version == 1 else 200
            return status, {"_index": name, "_id": document_id, "_version": version, "result": result}
        index = self._open(name)[0]
        if request.method == "DELETE":
            there = index.documents.pop(document_id, None) is not None
            result = "deleted" if there else "not_found"
            return (200 if there else 404), {"_index": index.name, "_id": document_id, "result": result}
        if document_id not in index.documents:
            return 404, {"_index": index.name, "_id": document_id, "found": False}
        return {"_index": index.name, "_id": document_id, "found": True, "_source": index.documents[document_id]}

    def update(self, request: Request) -> Any:
        """The merged document goes through the index's pipeline."""
        name, document_id = request.parts
        index = self._indices(name)[0]
        if document_id not in index.documents:
            raise Refused(404, "document_missing_exception", f"[_doc][{document_id}]: document missing")
        merged = {**index.documents[document_id], **request.json["doc"]}
        version = index.put(document_id, self.ingested(index, merged, name))
        return {"_index": index.name, "_id": document_id, "_version": version, "result": "updated"}

    def update_by_query(self, request: Request) -> Any:
        index, failures = self._indices(request.parts[0])[0], list[Any]()
        for i, source in list(index.documents.items()):
            try:
                index.put(i, self.ingested(index, source))
            except Refused as refused:
                failures.append({"id": i, "status": refused.status, "cause": refused.error()})
        return {"updated": len(index.documents) - len(failures), "failures": failures}

    def mget(self, request: Request) -> Any:
        try:
            index = self._open(request.parts[0])[0]
        except Refused as refused:
            return {"docs": [{"_id": i, "error": refused.error()} for i in request.json["ids"]]}
        docs = []
        for i in request.json["ids"]:
            found: dict[str, Any] = {"_index": index.name, "_id": i, "found": i in index.documents}
            if found["found"] and request.query.get("_source") != "false":
                left = request.query.get("_source_excludes", "").split(",")
                source = {name: value for name, value in index.documents[i].items() if name not in left}
                found |= {"_source": source, "_seq_no": index.seq_nos[i], "_primary_term": 1}
            stored = request.query.get("stored_fields")
            if found["found"] and stored and stored in index.documents[i]:
                found["fields"] = {stored: [index.documents[i][stored]]}
            docs.append(found)
        return {"docs": docs}

    def bulk(self, request: Request) -> Any:
        rows = iter([json.loads(line) for line in request.data.splitlines() if line.strip()])
        items, errors = [], False
        for action in rows:
            ((kind, meta),) = action.items()
            asked = meta.get("_index") or request.parts[0]
            index = self._indices(asked)[0]
            item = {"_index": index.name, "_id": meta["_id"]}
            if kind == "delete":
                there = index.documents.pop(meta["_id"], None) is not None
                item |= {"result": "deleted" if there else "not_found", "status": 200 if there else 404}
                items.append({"delete": item})
                continue
            source = next(rows)
            try:
                self._open(index.name)
                if kind == "update":  # the partial document is merged, and no pipeline sees the result
                    merged = {**index.documents[meta["_id"]], **source["doc"]}
                    item |= {"_version": index.put(meta["_id"], merged), "result": "updated", "status": 200}
                    items.append({"update": item})
                    continue
                named = meta.get("pipeline") or request.query.get("pipeline")
                index.check_version(meta)
                encoded = source if named == "_none" else self.ingested(index, source, asked)
                version = index.put(meta["_id"], encoded)
                item |= {"_version": version, "result": "created" if version == 1 else "updated", "status": 201}
            except Refused as refused:
                errors = True
                item |= {"status": refused.status, "error": refused.error()}
            items.append({"index": item})
        return {"took": 1, "errors": errors, "items": items}

    def scroll(self, request: Request) -> Any:
        """The next page, each time it is asked for: an answer that is lost is a page that is lost."""
        if request.method == "DELETE":
            freed = [self.scrolls.pop(name, None) for name in request.json["scroll_id"]]
            return {"succeeded": True, "num_freed": len(freed)}
        return self._page(request.json["scroll_id"])

    def _page(self, name: str) -> Any:
        size, total, rows = self.scrolls[name]
        self.scrolls[name] = size, total, rows[size:]
        return {"_scroll_id": name, "hits": {"total": {"value": total, "relation": "eq"}, "hits": rows[:size]}}

    def search(self, request: Request) -> Any:
        (index, *_), pipeline = self._searchable(request.parts[0], request.query.get("search_pipeline"))
        if "scroll" in request.query:
            chosen, scroll = request.json["_source"], f"scroll{len(self.calls)}"
            only, left = chosen.get("includes"), chosen.get("excludes", [])
            rows = [
                {"_id": i, "_source": {k: v for k, v in s.items() if k not in left and (only is None or k in only)}}
                for i, s in index.documents.items()
            ]
            self.scrolls[scroll] = request.json["size"], len(rows), rows
            return self._page(scroll)
        form = self.form(index, request.parts[0])
        return search(index, request.json or {}, lambda clause: self._query_tokens(clause, pipeline, form))

    def msearch(self, request: Request) -> Any:
        """Each query's own status: one that fails does not fail the others."""
        lines, responses = [json.loads(line) for line in request.data.splitlines()], list[Any]()
        for head, body in zip(lines[::2], lines[1::2], strict=True):
            one = Request("POST", {}, json.dumps(body).encode(), (head.get("index") or request.parts[0],))
            try:
                responses.append({**self.search(one), "status": 200})
            except Refused as refused:
                responses.append(refused.body())
        return {"took": 1, "responses": responses}

    def _query_tokens(self, clause: dict[str, Any], pipeline: str | None, form: str) -> dict[str, float]:
        model_id = clause.get("model_id")
        for processor in self.pipelines.get(pipeline or "", {}).get("request_processors", []):
            body = processor.get("neural_query_enricher", {})
            by_field = body.get("neural_field_default_id", {}).get(clause["field"])
            model_id = model_id or by_field or body.get("default_model_id")
        if model_id is None:
            return dict.fromkeys(clause["query_text"].lower().split(), 1.0)  # the server's bert-uncased analyzer
        return {k: float(v or 0) for k, v in self._running(model_id).predict(clause["query_text"], form).items()}
