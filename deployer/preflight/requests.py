"""The calls that only the preflight makes. What a cluster does not know or does not let the user see is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from osparse.deployer.cluster.client import Cluster

_UNSEEN = (400, 403, 404, 405)
DRY_RUN = "perform_permission_check"
"""Parameter of OpenSearch Security 3.2 and later: answer whether the call is permitted, and do not make it."""


@dataclass(frozen=True)
class Call:
    """A call as the dry run of its permissions sends it."""

    method: str
    path: str
    body: Any = None
    content_type: str = "application/json"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class PreflightRequests:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def health(self) -> dict[str, Any]:
        """Status and counts of shards and nodes."""
        return self._seen("/_cluster/health")

    def limits(self) -> dict[str, Any]:
        """Node id -> name, roles, ``breakers.parent`` and ``fs.total``."""
        shown = "name", "roles", "breakers.parent", "fs.total"
        params = {"filter_path": ",".join(f"nodes.*.{part}" for part in shown)}
        return dict(self._seen("/_nodes/stats/breaker,fs", params).get("nodes", {}))

    def user(self) -> dict[str, Any]:
        """Name and roles as the security plugin knows them; empty where there is none."""
        return self._seen("/_plugins/_security/authinfo")

    def missing_permissions(self, call: Call) -> list[str] | None:
        """The permissions that the call would lack; None where the server does not say.

        Sent only where :meth:`dry_runs` holds: elsewhere the call would be made.
        """
        answer = self.cluster.request(
            call.method, call.path, params={DRY_RUN: "true"}, body=call.body, content_type=call.content_type,
            allow=(*_UNSEEN, 406, 409, 500), repeatable=True,
        )  # fmt: skip
        body = answer.body if isinstance(answer.body, dict) else {}
        return [str(name) for name in body.get("missingPrivileges", [])] if "accessAllowed" in body else None

    def dry_runs(self) -> bool:
        """Whether a call with :data:`DRY_RUN` is answered and not made: tried with one that changes nothing."""
        return self.missing_permissions(Call("GET", "/")) is not None

    def _seen(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        answer = self.cluster.request("GET", path, params=params, allow=_UNSEEN)
        return answer.body if answer.status == 200 and isinstance(answer.body, dict) else {}
