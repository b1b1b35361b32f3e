"""Pipelines, indices and aliases, as OpenSearch with neural-search answers."""

from __future__ import annotations

import copy
import json
from fnmatch import fnmatch
from typing import Any

from mlcommons_document_calls import DocumentCalls
from mlcommons_http import Request
from mlcommons_index import Index
from mlcommons_ingest import Place, check_processor
from mlcommons_refusals import Refused, no_such_index
from mlcommons_search import clustered
from mlcommons_search_calls import SearchCalls

CLUSTERED = 12
"""Bytes of a posting in a cluster."""


class IndexCalls(DocumentCalls, SearchCalls):
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
        pipeline = self.ingest[request.parts[0]] if request.parts else request.json["pipeline"]
        docs = []
        for row in request.json["docs"]:
            asked = row.get("_index", "_index")
            place = Place(self.indices.get(asked), asked, row.get("_id", "_id"))
            try:
                source = self.through(pipeline, row["_source"], place)
                docs.append({"doc": {"_index": asked, "_id": place.id, "_source": source}})
            except Refused as refused:
                docs.append({"error": refused.with_root()})
        return {"docs": docs}

    # indices

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
        name = request.parts[0]
        if name not in self.indices:
            self._indices(name)  # raises, unless it is an alias
            reason = f"The provided expression [{name}] matches an alias, specify the corresponding concrete indices instead."
            raise Refused(400, "illegal_argument_exception", reason)
        del self.indices[name]
        return {"acknowledged": True}

    def index_close(self, request: Request) -> Any:
        close, changed = request.parts[1] == "close", dict[str, Any]()
        for index in self._indices(request.parts[0]):
            changed |= {index.name: {"closed": True}} if close and not index.closed else {}
            index.closed = close
        if not close:
            return {"acknowledged": True, "shards_acknowledged": True}
        return {"acknowledged": True, "shards_acknowledged": bool(changed), "indices": changed}

    def settings_of_index(self, request: Request) -> Any:
        """A value of null takes a setting away."""
        indices = self._indices(request.parts[0], request.query.get("expand_wildcards", "open,closed"))
        if request.method == "PUT":
            for index in indices:
                index.change_settings(request.json)
            return {"acknowledged": True}
        if request.query.get("flat_settings") != "true":
            return {i.name: {"settings": i.describe()["settings"]} for i in indices}
        return {i.name: {"settings": {f"index.{k}": str(v) for k, v in i.all_settings().items()}} for i in indices}

    def mapping_get(self, request: Request) -> Any:
        indices = self._indices(request.parts[0], request.query.get("expand_wildcards", "open"))
        if request.method == "PUT":
            for index in indices:
                fields = {**index.mappings.get("properties", {}), **request.json.get("properties", {})}
                index.mappings = {**index.mappings, **request.json, **({"properties": fields} if fields else {})}
            return {"acknowledged": True}
        if request.query.get("filter_path") == "*.mappings._meta":
            return {i.name: {"mappings": {"_meta": i.mappings["_meta"]}} for i in indices if "_meta" in i.mappings}
        if "model_id" in request.query.get("filter_path", ""):
            return {i.name: {"mappings": i.models_named()} for i in indices}
        return {index.name: {"mappings": index.mappings} for index in indices}

    def cat_indices(self, request: Request) -> Any:
        """A wildcard shows closed indices too; a closed one is red at first, and its documents are not known."""
        indices = self._indices(request.parts[0] or "*", request.query.get("expand_wildcards", "open,closed"))
        return [
            {"health": "red" if i.closed else "green", "status": "close" if i.closed else "open", "index": i.name,
             "docs.count": None if i.closed else str(len(i.documents))} for i in indices
        ]  # fmt: skip

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
            if kind == "remove_index":
                del self.indices[body["index"]]
                continue
            aliases = self.indices[body["index"]].aliases
            if kind == "remove" and body["alias"] not in aliases:
                raise Refused(404, "aliases_not_found_exception", f"aliases [{body['alias']}] missing")
            if kind == "remove":
                del aliases[body["alias"]]
            else:
                aliases[body["alias"]] = {k: v for k, v in body.items() if k not in ("index", "alias")}
        return {"acknowledged": True}

    def index_block(self, request: Request) -> Any:
        """The server waits for the writes that it has accepted; here none is ever under way."""
        for index in self._indices(request.parts[0]):
            index.change_settings({"index.blocks.write": "true"})
        return {"acknowledged": True, "shards_acknowledged": True}

    def index_clone(self, request: Request) -> Any:
        source, target = request.parts
        (index,) = self._indices(source)
        if str(index.settings.get("blocks.write", "false")) != "true":
            reason = f'index {source} must be read-only to resize index. use "index.blocks.write=true"'
            raise Refused(400, "illegal_state_exception", reason)
        if target in self.indices:
            raise Refused(400, "resource_already_exists_exception", f"index [{target}/uuid] already exists")
        clone = copy.deepcopy(index)
        clone.name, clone.aliases, clone.uuid = target, {}, f"clone-of-{index.uuid}"
        clone.change_settings({**(request.json or {}).get("settings", {}), "index.resize.source.uuid": index.uuid})
        self.indices[target] = clone
        return {"acknowledged": True, "shards_acknowledged": True, "index": target}

    def refresh(self, request: Request) -> Any:
        self._open(request.parts[0])
        return {"_shards": {"total": 1, "successful": 1, "failed": 0}}

    def store_stats(self, request: Request) -> Any:
        """The clusters of an approximate field take about as much again for each of their postings."""
        indices = self._open(request.parts[0])
        size = sum(len(json.dumps(d)) for index in indices for d in index.documents.values())
        size += sum(CLUSTERED * clustered(index, field) for index in indices for field in index.fields("sparse_vector"))
        return {"_all": {"primaries": {"store": {"size_in_bytes": size}}}}

    def shard_stats(self, request: Request) -> Any:
        """At ``level=shards``; numbers begin at 0, so that of an index without writes is -1."""
        if request.query.get("level") != "shards":
            raise Refused(400, "illegal_argument_exception", "the test server has _stats at level=shards only")
        return {
            "indices": {
                i.name: {
                    "uuid": i.uuid,
                    "shards": {"0": [{"routing": {"primary": True}, "seq_no": _numbers(i)}]},
                }
                for i in self._open(request.parts[0])
            }
        }


def _numbers(index: Index) -> dict[str, int]:
    last = index.writes - 1
    return {"max_seq_no": last, "local_checkpoint": last, "global_checkpoint": last}
