"""The step that lets ML Commons call an encoder's address; its lists are added to, never replaced."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.plan import Finding, Made
from osparse.deployer.remote.endpoint import is_private, is_trusted, trusted_pattern
from osparse.errors import ClusterError
from osparse.opensearch_templates import render

TRUSTED = "plugins.ml_commons.trusted_connector_endpoints_regex"
PRIVATE = "plugins.ml_commons.connector.private_ip_enabled"
REMOTE = "plugins.ml_commons.remote_inference.enabled"


@dataclass(frozen=True)
class TrustedEndpoint:
    """Step: connectors may be made for the address, and called."""

    api: ClusterApi
    endpoint: str
    allow: bool
    takes = ()

    def inspect(self, made: Made) -> Finding:
        needed = self._needed()
        if not needed:
            return Finding("keep", f"trust in {self.endpoint}", "the cluster may call it")
        reasons = "; ".join(why for _, why in needed.values())
        reasons += "" if self.allow else "; pass `allow_settings=True` to let osparse change them"
        changes = ", ".join(_change(name, value) for name, (value, _) in needed.items())
        return Finding("change", f"cluster settings {changes}", reasons)

    def apply(self, made: Made) -> Made:
        """Raises :class:`ClusterError` with the call to make when the settings may not be changed."""
        needed = self._needed()
        body = render("cluster_settings_ml", settings={name: value for name, (value, _) in needed.items()})
        if needed and not self.allow:
            raise ClusterError(
                f"ML Commons on {self.api.cluster.url} may not call {self.endpoint}: "
                f"{'; '.join(why for _, why in needed.values())}. Deploy with `allow_settings=True`, or make this "
                f"call:\nPUT /_cluster/settings\n{json.dumps(body)}"
            )
        if needed:
            self.api.put_settings(body)
        return Made()

    def _needed(self) -> dict[str, tuple[Any, str]]:
        """Setting -> (the value it needs, why)."""
        current: dict[str, Any] = dict(self.api.settings())
        needed: dict[str, tuple[Any, str]] = {}
        patterns = _list(current.get(TRUSTED))
        if not is_trusted(self.endpoint, patterns):
            value = [*patterns, trusted_pattern(self.endpoint)]
            needed[TRUSTED] = (value, f"no trusted pattern of the cluster matches {self.endpoint}")
        if str(current.get(PRIVATE, "false")) != "true" and is_private(self.endpoint):
            needed[PRIVATE] = (True, "its host has a private address, and connectors may not call those")
        if str(current.get(REMOTE, "true")) != "true":
            needed[REMOTE] = (True, "remote models are turned off")
        return needed


def _change(name: str, value: Any) -> str:
    """Of a list only what is added."""
    return f"{name}: {json.dumps(value[-1])} added" if isinstance(value, list) else f"{name}={json.dumps(value)}"


def _list(value: Any) -> list[str]:
    """A list setting as the server shows it: a list, or its JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            value = [value]
    return [str(one) for one in value or []]
