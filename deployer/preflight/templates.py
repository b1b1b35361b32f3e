"""What index templates of others would change in an index that is about to be made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.inherited_settings import differences, flat_settings, inherited, matching_templates
from osparse.deployer.preflight.checks import Check


def template_checks(api: ClusterApi, index: str, body: Mapping[str, Any]) -> Iterator[Check]:
    """``body``: what is going to be sent; it counts for more than a template, whose rest is merged with it."""
    names = matching_templates(api, index)
    if not names:
        return
    composable = api.simulated_index(index)
    templates = [composable] if composable else [api.legacy_templates()[name] for name in names]
    made = _merged(templates, body, deep=not composable)
    wrong = [*differences(made, body)]
    if wrong:
        yield Check(
            "blocked",
            f"with index template {' and '.join(names)} the index would not be what osparse needs: {'; '.join(wrong)}; "
            "change the template, or choose another index name",
        )
    else:
        yield Check("ok", str(inherited(api, index, body)))


def _merged(templates: list[dict[str, Any]], body: Mapping[str, Any], *, deep: bool) -> dict[str, Any]:
    """As the server merges them; ``deep``, as legacy templates are: within a parameter such as ``_source`` too."""
    settings: dict[str, Any] = {}
    mappings: dict[str, Any] = {}
    for part in (*templates, body):
        settings |= flat_settings(part.get("settings", {}))
        for name, value in part.get("mappings", {}).items():
            merges = isinstance(value, Mapping) and (deep or name == "properties")
            mappings[name] = {**mappings.get(name, {}), **value} if merges else value
    return {"settings": settings, "mappings": mappings}
