"""Connectors of ML Commons: made, listed, changed and deleted with the words of OpenSearch 3.4.0."""

from __future__ import annotations

import re
from typing import Any

from mlcommons_http import Request
from mlcommons_refusals import Refused
from mlcommons_register import BAD_WORDS, PLAIN
from mlcommons_state import State


class ConnectorCalls(State):
    """The /_plugins/_ml/connectors part."""

    def connector_create(self, request: Request) -> Any:
        body = request.json
        if not body.get("credential"):
            raise Refused(400, "illegal_argument_exception", "Connector credential is null or empty list")
        for what in ("name", "description"):
            if not PLAIN.fullmatch(body.get(what, "")):
                reason = f"Validation Failed: 1: Model connector {what} {BAD_WORDS}"
                raise Refused(400, "action_request_validation_exception", reason)
        self._check_signing(body)
        self._check_url(body)
        connector_id = self._new_id()
        self.connectors[connector_id] = body
        return {"connector_id": connector_id}

    def _check_signing(self, body: dict[str, Any]) -> None:
        """Roles are taken by the managed service only."""
        if body["protocol"] != "aws_sigv4":
            return
        credential = body["credential"]
        if not {"access_key", "secret_key"} <= credential.keys() and not (self.takes_roles and "roleArn" in credential):
            raise Refused(400, "illegal_argument_exception", "Missing credential")
        if not {"service_name", "region"} <= body.get("parameters", {}).keys():
            raise Refused(400, "illegal_argument_exception", "Missing service name")

    def _check_url(self, body: dict[str, Any]) -> None:
        """Of what is made or changed; deployed models go on when the pattern is taken away."""
        for action in body.get("actions", []):
            if not any(re.fullmatch(p, action["url"]) for p in self._setting("trusted_connector_endpoints_regex")):
                reason = "Connector URL is not matching the trusted connector endpoint regex"
                raise Refused(400, "illegal_argument_exception", reason)

    def connector_search(self, request: Request) -> Any:
        query = request.json["query"]
        prefix = query.get("prefix", {}).get("name.keyword", "")
        hits = [
            {"_index": ".plugins-ml-connector", "_id": i, "_source": {"name": body["name"]}}
            for i, body in self.connectors.items()
            if body["name"].startswith(prefix)
        ]
        return {"hits": {"total": {"value": len(hits), "relation": "eq"}, "hits": hits}}

    def connector(self, request: Request) -> Any:
        connector_id = request.parts[0]
        users = [i for i, model in self.models.items() if model.get("connector_id") == connector_id]
        if request.method == "DELETE":
            if users:
                raise Refused(409, "status_exception", f"{len(users)} models are still using this connector, please "
                              f"delete or update the models first: [{', '.join(users)}]")  # fmt: skip
            there = self.connectors.pop(connector_id, None) is not None
            return {"_id": connector_id, "result": "deleted" if there else "not_found"}
        if connector_id not in self.connectors:
            raise Refused(
                404, "status_exception", f"Failed to find connector with the provided connector id: {connector_id}"
            )
        if request.method == "PUT":
            deployed = [i for i in users if i in self.runtimes]
            if deployed:
                raise Refused(400, "status_exception", f"{len(deployed)} models are still using this connector, please "
                              f"undeploy the models first: [{', '.join(deployed)}]")  # fmt: skip
            self._check_url(request.json)
            self.connectors[connector_id] |= request.json
            return {"_id": connector_id, "result": "updated"}
        return {name: value for name, value in self.connectors[connector_id].items() if name != "credential"}
