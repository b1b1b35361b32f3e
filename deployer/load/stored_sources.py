"""What an index holds of documents that are to be written again: the fields that others gave them stay."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import reason_of
from osparse.deployer.load.bulk import Version, patiently
from osparse.errors import ClusterError


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
    path, params = f"/{quote(index, safe='')}/_mget", {"_source_excludes": ",".join(excluded)}
    call = functools.partial(api.cluster.request, "POST", path, params=params, body={"ids": [*ids]}, timeout=300)
    answer = patiently(call).body
    found: dict[str, StoredSource] = {}
    for document in answer["docs"] if isinstance(answer, dict) else []:
        if "error" in document:
            raise ClusterError(f"{api.cluster.url} cannot look into {index}: {reason_of(document)}")
        if document.get("found"):
            version = Version(int(document["_seq_no"]), int(document["_primary_term"]))
            found[document["_id"]] = StoredSource(dict(document.get("_source", {})), version)
    return found
