"""The calls that only an adoption makes: checkpoints, pages by sequence number, write blocks, clones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.load.bulk import patiently
from osparse.errors import ClusterUnreachableError
from osparse.opensearch_templates import render

BLOCK = "index.blocks.write"
RESIZED = "index.resize.source.uuid"


def checkpoints(api: ClusterApi, index: str) -> dict[str, int]:
    """Shard -> its global checkpoint: every copy of the shard has the writes up to this sequence number; -1 for none.

    Raises:
        ClusterUnreachableError: a primary shard does not say where it stands.
    """
    found = {
        shard: int(copy["seq_no"]["global_checkpoint"])
        for shard, copies in patiently(lambda: api.shard_copies(index)).items()
        for copy in copies
        if copy["routing"]["primary"] and "seq_no" in copy
    }
    expected = int(api.get_index_settings(index).get("index.number_of_shards", 1))
    if len(found) != expected:
        raise ClusterUnreachableError(
            f"{api.cluster.url}: {expected - len(found)} of the {expected} shards of {index} have no primary copy; "
            "wait until the index is yellow or green, and run it again"
        )
    return found


def sequence_page(
    api: ClusterApi, index: str, shard: str, window: tuple[int, int], size: int, source: object
) -> list[dict[str, Any]]:
    """The first ``size`` documents of a shard, in order, whose sequence number is in (first, last] of ``window``."""
    body = render("documents_after", size=size, shown=source, after=window[0], upto=window[1])
    params = {"preference": f"_shards:{shard}|_primary", "search_pipeline": "_none"}
    answer = patiently(lambda: api.search(index, body, params, whole=True))
    return list(answer["hits"]["hits"])


def count_ids(api: ClusterApi, index: str, ids: Sequence[str]) -> int:
    """How many of the documents a search finds; no document is read for that."""
    query = render("filter_ids", ids=[*ids])
    body = {"size": 0, "track_total_hits": True, "query": query}
    answer = patiently(lambda: api.search(index, body, {"search_pipeline": "_none"}, whole=True))
    return int(answer["hits"]["total"]["value"])


def is_blocked(api: ClusterApi, index: str) -> bool:
    """Whether writes to the index are refused."""
    return api.get_index_settings(index).get(BLOCK) == "true"


def allow_writes(api: ClusterApi, index: str) -> None:
    api.put_index_settings(index, {BLOCK: None})


def clone_index(api: ClusterApi, index: str, target: str) -> None:
    """A second index of the same segments, which takes seconds; ``index`` must refuse writes, ``target`` will not."""
    body: Mapping[str, Any] = {"settings": {BLOCK: None}}
    api.clone_index(index, target, body)


def has_routed_documents(api: ClusterApi, index: str) -> bool:
    """Whether any document was written with a routing of its own."""
    return bool(
        api.search(index, render("documents_routed"), {"search_pipeline": "_none"}, whole=True)["hits"]["total"][
            "value"
        ]
    )
