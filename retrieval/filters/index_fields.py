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
DATES = frozenset({"date", "date_nanos", "date_range"})
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
    date_format: str | None = None
    """Of a date, where the mapping gives one."""


class IndexFields:
    """Look-up by the whole path, such as ``spec.size`` or ``title.ko``."""

    def __init__(self, mappings: Mapping[str, Any], index: str) -> None:
        """``mappings`` as ``GET index/_mapping`` answers it for one index."""
        self.index = index
        self._fields = dict(_fields(mappings.get("properties", {}), "", None))
        aliases = dict(_aliases(mappings.get("properties", {}), ""))
        self._fields |= {path: self._fields[target] for path, target in aliases.items() if target in self._fields}
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


Properties = Mapping[str, Any]


def _fields(properties: Properties, prefix: str, nested: str | None) -> Iterator[tuple[str, IndexField]]:
    """(path, field), those below a field and its other forms (``fields``) too, without aliases."""
    for name, body in properties.items():
        path, kind = f"{prefix}{name}", str(body.get("type", "object"))
        if kind != "alias":
            inside = path if kind == "nested" else nested
            forms = body.get("fields", {})
            keyword = next((f"{path}.{form}" for form, it in forms.items() if it.get("type") == "keyword"), None)
            yield path, IndexField(path, kind, inside, keyword, body.get("format"))
            yield from _fields(forms, f"{path}.", inside)
            yield from _fields(body.get("properties", {}), f"{path}.", inside)


def _aliases(properties: Properties, prefix: str) -> Iterator[tuple[str, str]]:
    """(path, path of the field that it stands for)."""
    for name, body in properties.items():
        if body.get("type") == "alias":
            yield f"{prefix}{name}", str(body.get("path"))
        yield from _aliases(body.get("properties", {}), f"{prefix}{name}.")
