"""What a new index would take over from index templates, and whether it came out as osparse needs it.

Whatever osparse depends on is said in the body that creates an index, which counts for more than any template. The rest
of a template is its owner's choice: it is named in the plan. What a template can bring in all the same is found by
reading the index back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from osparse.deployer.cluster.api import ClusterApi
from osparse.errors import ClusterError

log = logging.getLogger("osparse.deployer.cluster.inherited_settings")

DERIVED = "index.derived_source.enabled"
"""Rebuilds ``_source`` from other storage, which a vector field does not have."""


def matching_templates(api: ClusterApi, index: str) -> list[str]:
    """Names of the index templates that a new index of this name would take.

    That is the composable one of the highest priority, or else every legacy one. Empty where the user may not see them.
    """
    fitting = [
        (int(body.get("priority", 0)), name)
        for name, body in api.index_templates().items()
        if _fits(body.get("index_patterns", []), index)
    ]
    if fitting:
        return [max(fitting)[1]]
    return sorted(name for name, body in api.legacy_templates().items() if _fits(body.get("index_patterns", []), index))


def inherited(api: ClusterApi, index: str, body: Mapping[str, Any]) -> str | None:
    """One clause for the plan: which templates match, what stays of them, and what the body of osparse overrides."""
    templates = matching_templates(api, index)
    if not templates:
        return None
    brought = [*_paths(api.simulated_index(index) or _legacy(api, templates))]
    own = set(_paths(body))
    over = sorted({path for path in brought if _said(path, own)})
    more = sorted(set(brought) - set(over))
    several = len(templates) > 1
    named = f"index template{'s' * several} {', '.join(templates)} match{'' if several else 'es'}"
    taken = f"; taken over: {', '.join(more)}" if more else ""
    return named + taken + (f"; set by osparse instead: {', '.join(over)}" if over else "")


def check_created(api: ClusterApi, index: str, body: Mapping[str, Any]) -> None:
    """Raises :class:`ClusterError` if a new index is not as its body says; the index, which is empty, is removed."""
    made = (api.get_index(index) or {}).get(index, {})
    wrong = [*differences(made, body)]
    if not wrong:
        return
    templates = matching_templates(api, index)
    api.delete_index(index)
    raise ClusterError(
        f"{api.cluster.url} made the index {index} other than asked for, and it was removed again: {'; '.join(wrong)}. "
        f"Change the index template {' or '.join(templates) or 'that matches its name'}, or choose another index name"
    )


def source_problem(found: Mapping[str, Any], generated: tuple[str, ...] = ()) -> str | None:
    """Why an index does not keep whole documents, from its ``mappings`` (and ``settings``); None if it does.

    Args:
        generated: Fields that may be missing from ``_source``: an encoder makes them again.
    """
    source = found.get("mappings", {}).get("_source", {})
    if str(source.get("enabled", True)).lower() == "false":
        return "its mapping says _source: enabled false"
    left_out = [name for name in source.get("excludes", []) if name.removesuffix(".*") not in generated]
    if left_out:
        return f"its mapping leaves {', '.join(left_out)} out of _source"
    if source.get("includes"):
        return f"its mapping keeps only {', '.join(source['includes'])} in _source"
    if str(flat_settings(found.get("settings", {})).get(DERIVED, "false")).lower() == "true":
        return f"its setting {DERIVED} is true"
    return None


def check_source(index: str, found: Mapping[str, Any], generated: tuple[str, ...] = ()) -> None:
    """Raises :class:`ClusterError` in one sentence if the index does not keep what it is given."""
    problem = source_problem(found, generated)
    if problem is not None:
        raise ClusterError(
            f"index {index} does not keep its documents as they are given ({problem}), so they could be neither "
            "changed, explained nor copied to another bundle; an index template may have brought it: change that, "
            "remove the index, and run osparse deploy again"
        )


def differences(made: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[str]:
    """Where an index is not as the body that creates it says."""
    there, asked = flat_settings(made.get("settings", {})), flat_settings(body.get("settings", {}))
    for name, value in asked.items():
        given = value if isinstance(value, str) else str(value).lower()
        if str(there.get(name, given)).lower() != given.lower():
            yield f"{name} is {there[name]}, not {given}"
    mappings, wanted = made.get("mappings", {}), body["mappings"]
    problem = source_problem(made)
    if problem is not None:
        yield problem
    if str(mappings.get("_routing", {}).get("required", False)).lower() == "true":
        yield "its mapping says _routing: required true"
    if str(mappings.get("dynamic", "true")).lower() != wanted.get("dynamic", "true"):
        yield f"its mapping says dynamic: {mappings['dynamic']}"
    for name, field in wanted["properties"].items():
        kind = mappings.get("properties", {}).get(name, {}).get("type", "object")
        if field.get("type") == "semantic":
            continue  # the server rewrites it when it makes its own fields below it
        if kind != field.get("type", "object"):
            yield f"its field {name} is {kind}, not {field['type']}"


def _legacy(api: ClusterApi, names: list[str]) -> dict[str, Any]:
    bodies = [body for name, body in api.legacy_templates().items() if name in names]
    return {
        "settings": {name: value for body in bodies for name, value in flat_settings(body.get("settings", {})).items()},
        "mappings": {name: value for body in bodies for name, value in body.get("mappings", {}).items()},
        "aliases": {name: value for body in bodies for name, value in body.get("aliases", {}).items()},
    }


def _paths(body: Mapping[str, Any]) -> Iterator[str]:
    """The settings, mapping parameters, fields and aliases that a body speaks of."""
    yield from flat_settings(body.get("settings", {}))
    for name, value in body.get("mappings", {}).items():
        if name == "properties":
            yield from (f"field {field}" for field in value)
        elif name != "_meta":
            yield f"mapping {name}"
    yield from (f"alias {name}" for name in body.get("aliases", {}))


def _said(path: str, own: set[str]) -> bool:
    replicas = ("index.number_of_replicas", "index.auto_expand_replicas")
    return path in own or (path in replicas and not own.isdisjoint(replicas))


def flat_settings(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Settings by their dotted names, each with the ``index.`` that may be left out."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        path = f"{before}{name}"
        if isinstance(value, Mapping):
            flat.update(flat_settings(value, f"{path}."))
        else:
            flat[path if path.startswith("index.") else f"index.{path}"] = value
    return flat


def _fits(patterns: list[str], index: str) -> bool:
    return any(fnmatchcase(index, pattern.replace("[", "[[]")) for pattern in patterns)
