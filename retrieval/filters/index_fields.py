"""The fields of an index that a filter or a sort may name, as its mapping has them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from osparse.errors import InputError

INTEGERS = frozenset({"byte", "short", "integer", "long", "unsigned_long"})
NUMBERS = INTEGERS | {"half_float", "float", "double", "scaled_float"}
TEXTS = frozenset({"text", "match_only_text", "search_as_you_type", "semantic"})
KEYWORDS = frozenset({"keyword", "constant_keyword", "wildcard"})
WITHOUT_VALUES = frozenset(
    {"rank_feature", "rank_features", "sparse_vector", "knn_vector", "geo_point", "geo_shape", "percolator", "binary"}
)
"""Types that no comparison of this language reaches."""
OBJECTS = frozenset({"object", "nested"})
ID = "_id"


@dataclass(frozen=True)
class IndexField:
    path: str
    type: str
    nested: str | None = None
    """The nested field that it belongs to, the innermost; itself for a nested field."""
    keyword: str | None = None
    """Path of its whole value, of a text that has one."""


class IndexFields:
    """Look-up by the whole path, such as ``spec.size`` or ``title.ko``."""

    def __init__(self, mappings: Mapping[str, Any], index: str) -> None:
        """``mappings`` as ``GET index/_mapping`` answers it for one index."""
        self.index = index
        self._fields = {field.path: field for field in _fields(mappings.get("properties", {}), "", None)}
        self._fields[ID] = IndexField(ID, "keyword")

    def __getitem__(self, name: str) -> IndexField:
        """Raises :class:`InputError` for a field that the index does not have."""
        if (field := self._fields.get(name)) is not None:
            return field
        for end in (i for i, letter in enumerate(name) if letter == "."):
            parent = self._fields.get(name[:end])
            if parent is not None and parent.type == "flat_object":
                return IndexField(name, "keyword", parent.nested)
        similar = difflib.get_close_matches(name, self._fields, 3) or sorted(self._fields)[:12]
        raise InputError(f"index {self.index} has no field {name}; it has, for example: {', '.join(similar)}")


def _fields(properties: Mapping[str, Any], prefix: str, nested: str | None) -> Iterator[IndexField]:
    aliases = dict[str, str]()
    fields = list[IndexField]()
    for name, body in properties.items():
        path, kind = f"{prefix}{name}", str(body.get("type", "object"))
        if kind == "alias":
            aliases[path] = str(body.get("path"))
            continue
        inside = path if kind == "nested" else nested
        below = body.get("fields", {})
        keyword = next((f"{path}.{sub}" for sub, it in below.items() if it.get("type") == "keyword"), None)
        fields.append(IndexField(path, kind, inside, keyword))
        fields += _fields(below, f"{path}.", inside)
        fields += _fields(body.get("properties", {}), f"{path}.", inside)
    known = {field.path: field for field in fields}
    yield from fields
    for path, target in aliases.items():
        if (meant := known.get(target)) is not None:
            yield IndexField(path, meant.type, meant.nested, meant.keyword)
