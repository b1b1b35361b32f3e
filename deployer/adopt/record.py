"""How far an adoption has come, kept in the ``_meta`` of the new index: any machine can continue it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.index.user_mapping import ADOPTION_KEY
from osparse.errors import ClusterError
from osparse.opensearch_templates import render

Position = Mapping[str, int]
"""Shard -> the last sequence number that was copied; or ``changed`` -> milliseconds of the last change."""


@dataclass(frozen=True)
class Record:
    """What ``_meta`` says."""

    source: str
    uuid: str
    """Of the source: another index of its name is another source."""
    position: Position = field(default_factory=dict)
    blocked: bool = False
    """Whether osparse makes the source refuse writes at this moment."""
    served: bool = False
    """Whether the new index has served since; ``position`` is then of its own writes, as far as they are encoded."""
    forced: bool = False
    """Whether every document is to be written again: others wrote to the new index while it served."""
    url: str | None = None
    """Of the source's cluster; None: the one of the new index."""
    changed_field: str | None = None
    """By which changes are found; None: the sequence numbers."""

    @property
    def shown(self) -> str:
        """As the command line names the source."""
        return self.source if self.url is None else f"{self.url}#{self.source}"


def read_record(api: ClusterApi, new: str, source: str, uuid: str, url: str | None = None) -> Record:
    """What is recorded of this source; a fresh record where there is none, or one of another source."""
    found = adoption_record(api, new)
    if found is None:
        return Record(source, uuid, url=url)
    return found if found.uuid == uuid else Record(source, uuid, forced=True, url=url)


def adoption_record(api: ClusterApi, new: str) -> Record | None:
    """What is recorded of whatever source; None for an index that was not filled from one."""
    raw = _meta(api, new).get(ADOPTION_KEY)
    if raw is None:
        return None
    try:
        return Record(**raw)
    except TypeError as problem:
        raise ClusterError(f"index {new}: its _meta.{ADOPTION_KEY} is not readable: {problem}") from None


def write_record(api: ClusterApi, new: str, record: Record) -> None:
    meta = {**_meta(api, new), ADOPTION_KEY: asdict(record)}
    api.put_mapping(new, render("index_meta", meta=meta))


def _meta(api: ClusterApi, new: str) -> dict[str, Any]:
    found = (api.get_mapping(new) or {}).get(new, {})
    return dict(found.get("mappings", {}).get("_meta", {}))
