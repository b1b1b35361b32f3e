"""Segments, force merges, and the statistics and warm-up of SEISMIC, as OpenSearch 3.4.0 with neural-search answers."""

from __future__ import annotations

from typing import Any

from mlcommons_http import Request
from mlcommons_index import SEGMENT
from mlcommons_refusals import Refused
from mlcommons_state import NODE, State

STATS = "plugins.neural_search.stats_enabled"


class SegmentCalls(State):
    """Every index has one shard; its segments hold :data:`SEGMENT` documents each until they are merged."""

    def segments(self, request: Request) -> Any:
        indices = {}
        for index in self._open(request.parts[0]):
            number = len(index.documents)
            most = -(-number // SEGMENT) or 1 if index.merged is None else index.merged
            rows = {
                f"_{n}": {"num_docs": len(range(n, number, most)), "deleted_docs": 0, "size_in_bytes": 100,
                          "committed": True, "search": True}
                for n in range(most)
            }  # fmt: skip
            copy = {"routing": {"state": "STARTED", "primary": True, "node": NODE}, "segments": rows}
            indices[index.name] = {"shards": {"0": [copy]}}
        return {"_shards": {"total": 1, "successful": 1, "failed": 0}, "indices": indices}

    def force_merge(self, request: Request) -> Any:
        for index in self._open(request.parts[0]):
            index.merged = int(request.query.get("max_num_segments", 1))
            self.merges.append(index.name)
        self.threads_at_merge.append(self.persistent.get("plugins.neural_search.sparse.algo_param.index_thread_qty"))
        return {"_shards": {"total": 1, "successful": 1, "failed": 0}}

    def neural_stats(self, request: Request) -> Any:
        if self.persistent.get(STATS) != "true":
            return 403, "Stats endpoint is disabled"
        memory = {"sparse": {"sparse_memory_usage": 2.5, "clustered_posting_usage": 2.0, "forward_index_usage": 0.5}}
        queries = {"neural_sparse": {"neural_sparse_query_requests": 9, "seismic_query_requests": 7}}
        return {"all_nodes": {"memory": memory, "query": queries}, "nodes": {}}

    def neural_warm_up(self, request: Request) -> Any:
        for index in self._open(request.parts[0]):
            if not any(field.get("type") == "sparse_vector" for field in index.mappings["properties"].values()):
                reason = (
                    f"Request rejected. Indices [{index.name}] don't support neural_sparse_warmup_action operation."
                )
                raise Refused(400, "status_exception", reason)
        if self.breaker_full:
            full = {"type": "circuit_breaking_exception", "reason": "Circuit Breaker reaches limit"}
            failure = {"shard": 0, "index": request.parts[0], "status": "TOO_MANY_REQUESTS", "reason": full}
            return {"_shards": {"total": 1, "successful": 0, "failed": 1, "failures": [failure]}}
        self.warmed.append(request.parts[0])
        return {"_shards": {"total": 1, "successful": 1, "failed": 0}}
