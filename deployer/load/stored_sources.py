"""What an index holds of documents that are to be written again: the fields that others gave them stay."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.load.bulk import Version, stored_documents


@dataclass(frozen=True)
class StoredSource:
    """A stored document without what osparse writes of it."""

    source: dict[str, Any]
    version: Version


def stored_sources(
    api: ClusterApi, index: str, ids: Collection[str], excluded: Sequence[str]
) -> dict[str, StoredSource]:
    """Document id -> its ``_source`` without the excluded fields, of those documents that are in the index.

    Raises:
        ClusterError: the index is gone.
    """
    if not ids:
        return {}
    params = {"_source_excludes": ",".join(excluded)}
    stored: dict[str, StoredSource] = {}
    for document in stored_documents(api, index, ids, params):
        version = Version(int(document["_seq_no"]), int(document["_primary_term"]))
        stored[document["_id"]] = StoredSource(dict(document.get("_source", {})), version)
    return stored
