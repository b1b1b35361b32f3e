"""The user's own index definition (settings, mappings, analyzers, aliases), merged with what osparse needs.

What contradicts is refused by name before anything is sent. What the user says of anything else counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osparse.contracts.deployment import META_KEY, Deployment, generated_fields
from osparse.deployer.cluster.inherited_settings import flat_settings, source_problem
from osparse.deployer.load.documents import HASH_FIELD
from osparse.deployer.load.refresh import META_KEY as REFRESH_KEY
from osparse.errors import InputError
from osparse.io.files import read_json
from osparse.opensearch_templates import render
from osparse.rows.text_template import TEXT_FIELD

ADOPTION_KEY = "osparse_adoption"
"""In the ``_meta`` of an index that was filled from one that osparse did not make: how far that has come."""
_PARTS = ("settings", "mappings", "aliases")
_OF_SERVER = (
    "index.uuid", "index.creation_date", "index.provided_name", "index.version.", "index.resize.", "index.history.",
    "index.remote_store.", "index.routing.allocation.initial_recovery.", "index.verified_before_close",
)  # fmt: skip
"""What an index has of its own and no other can be given."""
_PIPELINES = ("index.default_pipeline", "index.final_pipeline", "index.search.default_pipeline")
_LAYOUT = ("index.sparse", "index.analyze.max_token_count")
"""What the layout of an osparse index decides."""
_WEAK = ("index.number_of_shards", "index.auto_expand_replicas")
"""Defaults of osparse, which any choice of the user replaces."""
_ANALYSED = ("ko", "en")
"""The sub-fields that BM25 queries name."""


@dataclass(frozen=True)
class UserMapping:
    """What an index should have beside what osparse needs."""

    where: str
    """A file, or the index it was taken from: for messages."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Flat (``index.codec``)."""
    mappings: Mapping[str, Any] = field(default_factory=dict)
    aliases: Mapping[str, Any] = field(default_factory=dict)

    @property
    def properties(self) -> dict[str, Any]:
        return dict(self.mappings.get("properties", {}))


def read_user_mapping(path: Path) -> UserMapping:
    """A file as ``PUT INDEX`` takes it, the answer of ``GET INDEX``, or the mappings alone.

    Raises:
        InputError: no JSON, another shape, or several indices.
    """
    raw = read_json(path, InputError)
    if not isinstance(raw, Mapping):
        raise InputError(f"{path} must hold a JSON object with {', '.join(_PARTS)}, found {type(raw).__name__}")
    if len(raw) == 1 and isinstance(only := next(iter(raw.values())), Mapping) and "mappings" in only:
        raw = only  # GET INDEX and GET INDEX/_mapping name the index
    if "properties" in raw and "mappings" not in raw:
        raw = {"mappings": raw}
    unknown = sorted(set(raw) - {*_PARTS})
    if unknown or not all(isinstance(part, Mapping) for part in raw.values()):
        found = ", ".join(unknown) or "a part that is no object"
        raise InputError(f"{path} must hold a JSON object with {', '.join(_PARTS)}, found {found}")
    settings = _own(flat_settings(raw.get("settings", {})))
    mappings = _without_meta(raw.get("mappings", {}))
    return UserMapping(str(path), settings, mappings, dict(raw.get("aliases", {})))


def mapping_of_index(index: str, found: Mapping[str, Any], made_by: Deployment | None) -> UserMapping:
    """What an index has beside osparse's own fields and settings, for an index that is to replace it.

    Args:
        found: Its ``settings`` and ``mappings``, as ``GET INDEX`` answers.
        made_by: Its deployment; None for an index that osparse did not make.
    """
    mappings = dict(found.get("mappings", {}))
    generated = {*generated_fields(made_by), HASH_FIELD} if made_by is not None else set()
    properties = {name: body for name, body in mappings.get("properties", {}).items() if name not in generated}
    if made_by is not None:
        properties = {name: body for name, body in _as_the_users(properties)}
    settings = _own(flat_settings(found.get("settings", {})))
    dropped = {name for name in settings if name in (*_PIPELINES, *_LAYOUT) or name.startswith("index.blocks.")}
    if settings.get("index.auto_expand_replicas", "false") != "false":
        dropped.add("index.number_of_replicas")
    if REFRESH_KEY in mappings.get("_meta", {}):
        dropped.add("index.refresh_interval")  # a load has changed it for its own time
    kept = {name: value for name, value in settings.items() if name not in dropped}
    own = {name: value for name, value in mappings.items() if name not in ("_source", "_routing", "properties")}
    own["properties"] = properties
    return UserMapping(index, kept, _without_meta(own))


def problems(user: UserMapping, body: Mapping[str, Any], alias: str, given: Mapping[str, Any]) -> list[str]:
    """What contradicts, by name; empty if it can be merged.

    Args:
        body: What osparse would create the index with.
        alias: The name under which it is to serve.
        given: Settings that the call itself names.
    """
    return [
        *_problems_of_settings(user, flat_settings(body["settings"]), given, body["mappings"]),
        *_problems_of_mappings(user, body["mappings"]),
        *_problems_of_aliases(user, alias),
    ]


def merged(user: UserMapping, body: Mapping[str, Any], given: Mapping[str, Any], *, aliases: bool) -> dict[str, Any]:
    """The body that creates the index with both.

    Args:
        given: Settings that the call itself names: they count for more than the user's.
        aliases: Whether the new index takes the user's aliases.
    """
    ours = flat_settings(body["settings"])
    weak = {name: ours.pop(name) for name in _WEAK if name in ours and name not in given}
    if "index.number_of_replicas" in user.settings:
        weak.pop("index.auto_expand_replicas", None)
    settings = {**weak, **user.settings, **ours}
    mappings = {**body["mappings"], **{name: value for name, value in user.mappings.items() if name != "properties"}}
    mappings["dynamic"] = str(mappings["dynamic"]).lower()
    mappings["_meta"] = {**user.mappings.get("_meta", {}), **body["mappings"]["_meta"]}
    mappings["properties"] = _merged_fields(user.properties, body["mappings"]["properties"])
    return {
        **body,
        "settings": {"index": {name.removeprefix("index."): value for name, value in settings.items()}},
        "mappings": mappings,
        **({"aliases": {**user.aliases, **body["aliases"]}} if aliases and "aliases" in body else {}),
    }


def missing_fields(user: UserMapping, found: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the user's that an index does not have.

    Args:
        found: Its ``settings`` and ``mappings``, as ``GET INDEX`` answers.

    Raises:
        InputError: a field is of another type there, or a setting has another value.
    """
    properties, settings = found.get("mappings", {}).get("properties", {}), flat_settings(found.get("settings", {}))
    for name, value in user.settings.items():
        if str(settings.get(name, value)).lower() != str(value).lower():
            raise InputError(
                f"{user.where} says that {name} is {value}, and in the index, which exists, it is {settings[name]}; "
                "change it there, leave it out, or deploy under another name"
            )
    for name, body in user.properties.items():
        kind, wanted = (str(one.get("type", "object")) for one in (properties.get(name, body), body))
        if kind != wanted:
            raise InputError(
                f"{user.where} says that {name} is {wanted}, and in the index, which exists, it is {kind} for good; "
                "change the file, or deploy under another name"
            )
    return {name: body for name, body in user.properties.items() if name not in properties}


def _own(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if not name.startswith(_OF_SERVER)}


def _without_meta(mappings: Mapping[str, Any]) -> dict[str, Any]:
    own = (META_KEY, REFRESH_KEY, ADOPTION_KEY)
    meta = {name: value for name, value in mappings.get("_meta", {}).items() if name not in own}
    rest = {name: value for name, value in mappings.items() if name != "_meta"}
    return {**rest, **(render("index_meta", meta=meta) if meta else {})}


def _as_the_users(properties: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Without the sub-fields and the self-encoding text that osparse made: the new index has its own."""
    for name, body in properties.items():
        if name == TEXT_FIELD and body.get("type") == "semantic":
            continue
        fields = {sub: value for sub, value in body.get("fields", {}).items() if sub not in _ANALYSED}
        rest = {key: value for key, value in body.items() if key != "fields"}
        yield name, {**rest, **({"fields": fields} if fields else {})} if name in ("title", TEXT_FIELD) else body


def _merged_fields(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    fields = {**ours, **theirs}
    for name in ("title", TEXT_FIELD):
        if name in theirs and theirs[name].get("type") == "text" and "fields" in ours.get(name, {}):
            sub_fields = {**ours[name]["fields"], **theirs[name].get("fields", {})}
            fields[name] = {**theirs[name], "fields": sub_fields}
    if ours[TEXT_FIELD]["type"] == "semantic":
        fields[TEXT_FIELD] = ours[TEXT_FIELD]
    return fields


def _problems_of_settings(
    user: UserMapping, ours: Mapping[str, Any], given: Mapping[str, Any], mappings: Mapping[str, Any]
) -> Iterator[str]:
    for name, value in user.settings.items():
        said = str(value).lower()
        if name in _PIPELINES and said != "_none" and value != ours.get(name):
            yield f"its setting {name} is {value}, and osparse needs {ours.get(name)}"
        elif name.startswith("index.blocks.") and said == "true":
            yield f"its setting {name} is true: nothing could be loaded"
        elif name == "index.sparse" and said != str(ours.get(name, "false")).lower():
            yield f"its setting {name} is {value}, which the field type decides"
        elif name == "index.routing_partition_size" and said != "1":
            yield f"its setting {name} is {value}: osparse writes documents without routing"
        elif name.startswith("index.sort.") and _nested(mappings):
            yield f"its setting {name}: a sorted index cannot have the nested field of `chunk_text`"
        elif name in given and said != str(given[name]).lower():
            yield f"its setting {name} is {value}, and the call asks for {given[name]}"


def _nested(mappings: Mapping[str, Any]) -> bool:
    return any(body.get("type") == "nested" for body in mappings["properties"].values())


def _problems_of_mappings(user: UserMapping, ours: Mapping[str, Any]) -> Iterator[str]:
    mappings = user.mappings
    off = source_problem({"mappings": mappings, "settings": user.settings})
    if off is not None:
        yield f"{off}; osparse needs whole documents"
    if str(mappings.get("_routing", {}).get("required", False)).lower() == "true":
        yield "its mapping says _routing: required true, and osparse writes documents without routing"
    if str(mappings.get("enabled", True)).lower() == "false":
        yield "its mapping says enabled: false: no field could be searched"
    for name, body in user.properties.items():
        first = name.split(".")[0]
        if first != name and first in ours["properties"]:
            yield f"its field {name} lies below {first}, which is a field of osparse's own"
        needed = ours["properties"].get(name)
        if needed is not None:
            yield from _problems_of_field(name, body, needed)


def _problems_of_field(name: str, body: Mapping[str, Any], needed: Mapping[str, Any]) -> Iterator[str]:
    kind, wanted = str(body.get("type", "object")), str(needed["type"])
    free = name in ("source", "date") or (name == TEXT_FIELD and wanted == "semantic" and kind == "text")
    if kind != wanted and not free:
        yield f"its field {name} is {kind}, and osparse needs {wanted}"
    elif name in ("title", TEXT_FIELD):
        for sub in _ANALYSED:
            below = body.get("fields", {}).get(sub, {}).get("type", "text")
            if below != "text":
                yield f"its field {name}.{sub} is {below}, and osparse needs text"
    elif not free and any(body.get(key) != value for key, value in needed.items()):
        yield f"its field {name} must be {dict(needed)}, found {dict(body)}"


def _problems_of_aliases(user: UserMapping, alias: str) -> Iterator[str]:
    for name, body in user.aliases.items():
        if name == alias and set(body) - {"is_write_index"}:
            yield f"its alias {name} has {', '.join(sorted(body))}, and osparse serves the whole index under that name"
        elif name == f"{alias}-previous":
            yield f"its alias {name} is the name of the index before the one in use"
