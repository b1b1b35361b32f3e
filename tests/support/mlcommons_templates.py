"""Index templates, composable and legacy, and what a new index takes over from them."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import Any

from mlcommons_http import Request
from mlcommons_refusals import Refused
from mlcommons_settings import flat_settings, nested_settings
from mlcommons_state import State


class Templates(State):
    """Of the composable templates that match a name the one of the highest priority counts, else all legacy ones."""

    def index_template(self, request: Request) -> Any:
        if request.method == "PUT":
            self.index_templates[request.parts[0]] = request.json
            return {"acknowledged": True}
        asked = request.parts[0] or "*"
        found = [name for name in self.index_templates if fnmatch(name, asked)]
        if not found and "*" not in asked and request.method == "DELETE":
            raise Refused(404, "index_template_missing_exception", f"index_template [{asked}] missing")
        if not found and "*" not in asked:
            raise Refused(404, "resource_not_found_exception", f"index template matching [{asked}] not found")
        if request.method == "DELETE":
            for name in found:
                del self.index_templates[name]
            return {"acknowledged": True}
        rows = [{"name": name, "index_template": _shown(self.index_templates[name])} for name in found]
        return {"index_templates": rows}

    def legacy_template(self, request: Request) -> Any:
        if request.method == "PUT":
            self.legacy[request.parts[0]] = request.json
            return {"acknowledged": True}
        return self.legacy

    def simulate_index(self, request: Request) -> Any:
        """What :meth:`from_templates` would add; a legacy template is not looked at."""
        body = self._composable(request.parts[0])
        if body is None:
            return {}
        empty: dict[str, Any] = {"settings": {}, "mappings": {}, "aliases": {}}
        return {**_shown({"template": {**empty, **body}}), "overlapping": []}

    def from_templates(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """The body that creates an index, with what its templates add; the body itself counts for more."""
        composable = self._composable(name)
        if composable is not None:
            return _over(composable, body, deep=False)
        merged: dict[str, Any] = {}
        for template in self.legacy.values():
            if _matches(template, name):
                merged = _over(merged, template, deep=True)
        return _over(merged, body, deep=True)

    def _composable(self, name: str) -> dict[str, Any] | None:
        found = [body for body in self.index_templates.values() if _matches(body, name)]
        return max(found, key=lambda body: body.get("priority", 0)).get("template", {}) if found else None


def _shown(body: dict[str, Any]) -> dict[str, Any]:
    template = body["template"]
    return {**body, "template": {**template, "settings": nested_settings(template.get("settings", {}))}}


def _over(template: dict[str, Any], body: dict[str, Any], deep: bool) -> dict[str, Any]:
    """``deep``: parameters such as ``_source`` are merged key by key, as legacy templates do."""
    settings = {**flat_settings(template.get("settings", {})), **flat_settings(body.get("settings", {}))}
    below, above = template.get("mappings", {}), body.get("mappings", {})
    mappings = {**below, **above}
    for name in set(below) & set(above):
        if name == "properties" or (deep and isinstance(below[name], dict)):
            mappings[name] = {**below[name], **above[name]}
    aliases = {**template.get("aliases", {}), **body.get("aliases", {})}
    return {"settings": settings, "mappings": mappings, "aliases": aliases}


def _matches(template: dict[str, Any], name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in template["index_patterns"])
