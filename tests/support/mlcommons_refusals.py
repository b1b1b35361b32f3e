"""The errors that the test server answers with, in the words of OpenSearch."""

from __future__ import annotations

from typing import Any


class Refused(Exception):
    """An error answer: status, type, reason, maybe a cause, and the ``details`` that stand beside the reason."""

    def __init__(
        self, status: int, kind: str, reason: str, cause: tuple[str, str] | None = None, **details: Any
    ) -> None:
        super().__init__(reason)
        self.status, self.kind, self.reason, self.cause, self.details = status, kind, reason, cause, details

    def error(self) -> dict[str, Any]:
        """As a bulk item holds it."""
        head: dict[str, Any] = {"type": self.kind, "reason": self.reason, **self.details}
        if self.cause:
            head["caused_by"] = {"type": self.cause[0], "reason": self.cause[1]}
        return head

    def with_root(self) -> dict[str, Any]:
        root = {"type": self.kind, "reason": self.reason, **self.details}
        return {"root_cause": [root], **self.error()}

    def body(self) -> dict[str, Any]:
        return {"error": self.with_root(), "status": self.status}


class QueryRefused(Refused):
    """A query that fails on the shard."""

    def __init__(self, reason: str, index: str) -> None:
        super().__init__(400, "query_shard_exception", f"failed to create query: {reason}")
        self.index, self.bare = index, reason

    def body(self) -> dict[str, Any]:
        root = {"type": self.kind, "reason": self.reason, "index": self.index, "index_uuid": "uuid"}
        cause = {"type": "illegal_argument_exception", "reason": self.bare}
        shard = {"shard": 0, "index": self.index, "node": "node", "reason": {**root, "caused_by": cause}}
        error = {"root_cause": [root], "type": "search_phase_execution_exception", "reason": "all shards failed",
                 "phase": "query", "grouped": True, "failed_shards": [shard]}  # fmt: skip
        return {"error": error, "status": 400}


def no_such_index(name: str) -> Refused:
    return Refused(404, "index_not_found_exception", f"no such index [{name}]", index=name, index_uuid="_na_")


def index_closed(name: str) -> Refused:
    return Refused(400, "index_closed_exception", "closed", index=name, index_uuid="uuid")


def document_missing(index: str, document_id: str) -> Refused:
    reason = f"[{document_id}]: document missing"
    return Refused(404, "document_missing_exception", reason, index=index, shard="0", index_uuid="uuid")
