"""Searches and counts over one index, an alias, a list or a wildcard."""

from __future__ import annotations

import json
from typing import Any

from mlcommons_http import Request
from mlcommons_index import Index
from mlcommons_ingest import Ingestion, Place
from mlcommons_refusals import Refused
from mlcommons_remote import RemoteRuntime
from mlcommons_search import merged, search, sorted_and_rescored


class SearchCalls(Ingestion):
    """A request's search pipeline is the one it names, or else the index's default."""

    def count(self, request: Request) -> Any:
        """The default search pipeline must be there, and none can be named."""
        if "search_pipeline" in request.query:
            reason = f"request [/{request.parts[0]}/_count] contains unrecognized parameter: [search_pipeline]"
            raise Refused(400, "illegal_argument_exception", reason)
        return {"count": sum(len(index.documents) for index in self._searchable(request.parts[0])[0])}

    def scroll(self, request: Request) -> Any:
        """The next page, each time it is asked for: an answer that is lost is a page that is lost."""
        if request.method == "DELETE":
            freed = [self.scrolls.pop(name, None) for name in request.json["scroll_id"]]
            return {"succeeded": True, "num_freed": len(freed)}
        return self._page(request.json["scroll_id"])

    def _page(self, name: str) -> Any:
        size, total, hits = self.scrolls[name]
        self.scrolls[name] = size, total, hits[size:]
        return {"_scroll_id": name, "hits": {"total": {"value": total, "relation": "eq"}, "hits": hits[:size]}}

    def search(self, request: Request) -> Any:
        body, asked = request.json or {}, request.parts[0]
        indices, pipeline = self._searchable(asked, request.query.get("search_pipeline") or body.get("search_pipeline"))
        size = body.get("size", 10)
        if "scroll" in request.query:
            body = {**body, "size": sum(len(index.documents) for index in indices)}
        answers = [self._searched(index, asked, body, pipeline) for index in indices]
        if "scroll" not in request.query:
            return merged(answers, size)
        hits, scroll = merged(answers, body["size"])["hits"]["hits"], f"scroll{len(self.calls)}"
        self.scrolls[scroll] = size, len(hits), hits
        return self._page(scroll)

    def _searched(self, index: Index, asked: str, body: dict[str, Any], pipeline: str | None) -> dict[str, Any]:
        form = Place(index, asked).form
        asks_weights = '"neural_sparse"' in json.dumps(body.get("query", {}))
        if (
            "sort" in body
            and asks_weights
            and any(
                "neural_sparse_two_phase_processor" in processor
                for processor in self.pipelines.get(pipeline or "", {}).get("request_processors", [])
            )
        ):
            raise sorted_and_rescored(index.name)
        return search(index, body, lambda clause: self._query_tokens(clause, pipeline, form))

    def msearch(self, request: Request) -> Any:
        """Each query's own status: one that fails does not fail the others."""
        lines, responses = [json.loads(line) for line in request.data.splitlines()], list[Any]()
        for head, body in zip(lines[::2], lines[1::2], strict=True):
            if "search_pipeline" in head:
                reason = "key [search_pipeline] is not supported in the metadata section"
                raise Refused(400, "illegal_argument_exception", reason)
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
        runtime = self._running(model_id)
        if isinstance(runtime, RemoteRuntime):
            return dict(runtime.encode([clause["query_text"]], form if form != "WORD" else None)[0])
        return {k: float(v or 0) for k, v in runtime.predict(clause["query_text"], form).items()}
