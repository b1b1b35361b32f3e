"""Pipelines, indices, aliases and documents, as OpenSearch with neural-search answers."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from typing import Any

from mlcommons_http import Request
from mlcommons_search import Index, Refused, no_such_index, search
from mlcommons_state import State


class IndexCalls(State):
    """Everything with an index or a pipeline in its path."""

    # pipelines

    def ingest_pipeline(self, request: Request) -> Any:
        if request.method == "PUT":
            for processor in request.json.get("processors", []):
                _check_processor(processor)
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

    def _ingested(self, index: Index, source: dict[str, Any]) -> dict[str, Any]:
        name = index.settings.get("default_pipeline")
        if not name or name == "_none":
            return source
        if name not in self.ingest:
            raise Refused(400, "illegal_argument_exception", f"pipeline with id [{name}] does not exist")
        return self._through(self.ingest[name], source)

    def _through(self, pipeline: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
        for processor in pipeline["processors"]:
            ((kind, body),) = processor.items()
            for text_field, target in body["field_map"].items():
                if "if" in body and isinstance(source.get("text"), str) and not source["text"].strip():
                    continue  # what osparse's condition says
                if kind == "text_chunking":
                    words = source[text_field].split()
                    limit = body["algorithm"]["fixed_token_length"]["token_limit"]
                    source = {**source, target: [" ".join(words[i : i + limit]) for i in range(0, len(words), limit)]}
                    continue
                source = self._encoded(source, text_field, target, body["model_id"])
        return source

    def simulate(self, request: Request) -> Any:
        pipeline = self.ingest[request.parts[0]]
        docs = []
        for row in request.json["docs"]:
            try:
                docs.append({"doc": {"_index": "_index", "_source": self._through(pipeline, row["_source"])}})
            except Refused as refused:
                docs.append({"error": refused.error()})
        return {"docs": docs}

    def _encoded(self, source: dict[str, Any], text_field: str, target: str, model_id: str) -> dict[str, Any]:
        text = source.get(text_field)
        if text is None or text == "":
            return source
        if isinstance(text, dict):
            reason = (
                f"[{text_field}] configuration doesn't match actual value type, configuration type is: java.lang.String, "
                "actual value type is: java.util.HashMap"
            )
            raise Refused(400, "illegal_argument_exception", reason)
        if isinstance(text, list):
            return {**source, target: [{"sparse_encoding": self._running(model_id).predict(t, "WORD")} for t in text]}
        if not isinstance(text, str):
            reason = f"map type field [{text_field}] is neither string nor nested type, cannot process it"
            raise Refused(400, "illegal_argument_exception", reason)
        return {**source, target: self._running(model_id).predict(text, "WORD")}

    # indices and documents

    def index_put(self, request: Request) -> Any:
        name = request.parts[0]
        if name in self.indices:
            reason = f"index [{name}/uuid] already exists"
            raise Refused(400, "resource_already_exists_exception", reason)
        if any(name in index.aliases for index in self.indices.values()):
            reason = f"Invalid index name [{name}], already exists as alias"
            raise Refused(400, "invalid_index_name_exception", reason)
        self.indices[name] = Index(name, request.json or {})
        return {"acknowledged": True, "shards_acknowledged": True, "index": name}

    def index_get(self, request: Request) -> Any:
        return {index.name: index.describe() for index in self._indices(request.parts[0])}

    def index_delete(self, request: Request) -> Any:
        if request.parts[0] not in self.indices:
            raise no_such_index(request.parts[0])
        del self.indices[request.parts[0]]
        return {"acknowledged": True}

    def settings_of_index(self, request: Request) -> Any:
        """Flat, as asked for; a value of null takes a setting away."""
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
            wanted = request.query.get("filter_path") == "*.mappings._meta"
            return {
                name: {"mappings": {"_meta": index.mappings["_meta"]} if wanted else index.mappings}
                for name, index in self.indices.items()
                if fnmatch(name, pattern) and ("_meta" in index.mappings or not wanted)
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
                aliases[body["alias"]] = {}
        return {"acknowledged": True}

    def refresh(self, request: Request) -> Any:
        self._indices(request.parts[0])
        return {"_shards": {"total": 1, "successful": 1, "failed": 0}}

    def store_stats(self, request: Request) -> Any:
        size = sum(len(json.dumps(d)) for index in self._indices(request.parts[0]) for d in index.documents.values())
        return {"_all": {"primaries": {"store": {"size_in_bytes": size}}}}

    def count(self, request: Request) -> Any:
        return {"count": sum(len(index.documents) for index in self._indices(request.parts[0]))}

    def document(self, request: Request) -> Any:
        name, document_id = request.parts
        if request.method == "PUT":
            try:
                index = self._indices(name)[0]
            except Refused:
                index = self.indices.setdefault(name, Index(name, {}))
            version = index.put(document_id, self._ingested(index, request.json))
            result = "created" if version == 1 else "updated"
            status = 201 if version == 1 else 200
            return status, {"_index": name, "_id": document_id, "_version": version, "result": result}
        index = self._indices(name)[0]
        if request.method == "DELETE":
            there = index.documents.pop(document_id, None) is not None
            result = "deleted" if there else "not_found"
            return (200 if there else 404), {"_index": index.name, "_id": document_id, "result": result}
        if document_id not in index.documents:
            return 404, {"_index": index.name, "_id": document_id, "found": False}
        return {"_index": index.name, "_id": document_id, "found": True, "_source": index.documents[document_id]}

    def mget(self, request: Request) -> Any:
        try:
            index = self._indices(request.parts[0])[0]
        except Refused as refused:
            return {"docs": [{"_id": i, "error": refused.error()} for i in request.json["ids"]]}
        docs = []
        for i in request.json["ids"]:
            found: dict[str, Any] = {"_index": index.name, "_id": i, "found": i in index.documents}
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
            index = self._indices(meta.get("_index") or request.parts[0])[0]
            item = {"_index": index.name, "_id": meta["_id"]}
            if kind == "delete":
                there = index.documents.pop(meta["_id"], None) is not None
                item |= {"result": "deleted" if there else "not_found", "status": 200 if there else 404}
                items.append({"delete": item})
                continue
            source = next(rows)
            try:
                named = meta.get("pipeline") or request.query.get("pipeline")
                encoded = source if named == "_none" else self._ingested(index, source)
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
        if "scroll" in request.query:
            index = self._indices(request.parts[0])[0]
            chosen, scroll = request.json["_source"], f"scroll{len(self.calls)}"
            only, left = chosen.get("includes"), chosen.get("excludes", [])
            rows = [
                {"_id": i, "_source": {k: v for k, v in s.items() if k not in left and (only is None or k in only)}}
                for i, s in index.documents.items()
            ]
            self.scrolls[scroll] = request.json["size"], len(rows), rows
            return self._page(scroll)
        index = self._indices(request.parts[0])[0]
        name = request.query.get("search_pipeline") or index.settings.get("search.default_pipeline")
        return search(index, request.json or {}, lambda clause: self._query_tokens(clause, name))

    def _query_tokens(self, clause: dict[str, Any], pipeline: str | None) -> dict[str, float]:
        model_id = clause.get("model_id")
        for processor in self.pipelines.get(pipeline or "", {}).get("request_processors", []):
            body = processor.get("neural_query_enricher", {})
            by_field = body.get("neural_field_default_id", {}).get(clause["field"])
            model_id = model_id or by_field or body.get("default_model_id")
        if model_id is None:
            return dict.fromkeys(clause["query_text"].lower().split(), 1.0)  # the server's bert-uncased analyzer
        return {k: float(v or 0) for k, v in self._running(model_id).predict(clause["query_text"], "WORD").items()}


def _check_processor(processor: dict[str, Any]) -> None:
    ((kind, body),) = processor.items()
    if kind == "text_chunking":
        return
    if kind != "sparse_encoding":
        raise Refused(400, "parse_exception", f"No processor type exists with name [{kind}]")
    for key in ("model_id", "field_map"):
        if key not in body:
            raise Refused(400, "parse_exception", f"[{key}] required property is missing")
    kind, ratio = body.get("prune_type"), body.get("prune_ratio")
    wrong = None
    if ratio is not None and kind is None:
        wrong = "prune_ratio field is not supported when prune_type is not provided"
    elif kind not in (None, "none", "max_ratio", "alpha_mass", "top_k", "abs_value"):
        wrong = f"Unknown prune type: {kind}"
    elif kind in ("max_ratio", "alpha_mass") and ratio is not None and not 0 <= ratio < 1:
        wrong = f"Illegal prune_ratio {ratio:.6f} for prune_type: {kind}. prune_ratio should be in the range [0, 1)."
    if wrong:
        cause = ("illegal_argument_exception", wrong)
        raise Refused(500, "exception", f"java.lang.IllegalArgumentException: {wrong}", cause)
