"""The types of the fields of an index: those that its mapping has, and those that osparse infers for new fields.

The server's own guess is made of a single value: the first decides for all that follow. osparse looks at many rows
before and maps the fields itself; a field that only comes later is inferred from the batch that it comes in.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from osparse.deployer.cluster.api import ClusterApi
from osparse.errors import AccessError
from osparse.opensearch_templates import render
from osparse.rows.field_types import Values

log = logging.getLogger("osparse.deployer.fields.index_fields")


class IndexFields:
    """Of one index; may be asked by several threads."""

    def __init__(self, api: ClusterApi, index: str, mappings: Mapping[str, Any], own: Sequence[str]) -> None:
        """Args: own: fields that an encoder writes, which are never mapped here."""
        self._api, self._index, self._own = api, index, {*own}
        self._known: dict[str, str] = dict(_types(mappings.get("properties", {})))
        ruled = bool(mappings.get("dynamic_templates"))
        self._open = str(mappings.get("dynamic", "true")).lower() == "true" and not ruled
        """Whether new fields are mapped at all, and not by rules of the index's owner."""
        self._lock = threading.Lock()
        self.mapped: dict[str, str] = {}
        """Field -> type of those that were inferred."""

    def kind(self, field: str) -> str:
        """The type of a field, "" where it has none yet."""
        return self._known.get(field, "")

    def learn(self, rows: Iterable[tuple[Mapping[str, Any], bool]], *, as_text: frozenset[str] = frozenset()) -> None:
        """Map the fields of the rows that the index does not have.

        Args:
            rows: Fields, and whether they have types; where they have none, numbers, too, are written as text.
            as_text: Fields that stay text, whatever it looks like.
        """
        if not self._open:
            return
        seen = Values()
        for row, typed in rows:
            for name, value in self._new(row):
                seen.at(name.split(".")).see(value, typed=typed or name in as_text)
        if properties := seen.fields():
            with self._lock:
                self._put(properties)

    def _new(self, row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, value in _leaves(row, ""):
            if name not in self._known and name.split(".")[0] not in self._own:
                yield name, value

    def _put(self, properties: dict[str, Any]) -> None:
        new = {name: kind for name, kind in _types(properties) if name not in self._known}
        if not new:
            return  # another thread was faster
        try:
            self._api.put_mapping(self._index, render("mapping_fields", properties=properties))
        except AccessError as problem:
            log.warning("the types of %s are left to the cluster's guess: %s", ", ".join(new), problem)
            self._open = False
            return
        self._known |= new
        self.mapped |= new


def _leaves(value: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    """Dotted path and value of everything that is no object; of a list of objects, of each of them."""
    for name, below in value.items():
        path = f"{before}{name}"
        for one in below if isinstance(below, (list, tuple)) else (below,):
            if isinstance(one, Mapping):
                yield from _leaves(one, f"{path}.")
            else:
                yield path, one


def _types(properties: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Dotted path and type of every field, objects too."""
    for name, body in properties.items():
        yield f"{before}{name}", str(body.get("type", "object"))
        yield from _types(body.get("properties", {}), f"{before}{name}.")
