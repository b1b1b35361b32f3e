"""The segments of an index: how many, how large, and merging them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from osparse.deployer.cluster.api import ClusterApi


@dataclass(frozen=True)
class Segment:
    """One segment of a primary shard, which searches see."""

    shard: str
    """Index and number of the shard, as ``products-1[0]``."""
    name: str
    documents: int
    """Without the deleted ones."""
    deleted: int
    bytes: int


def read_segments(api: ClusterApi, index: str) -> list[Segment]:
    """The segments of the primary shards of an index or alias that searches see."""
    answer = api.cluster.request("GET", f"/{quote(index, safe='')}/_segments")
    indices = (answer.body or {}).get("indices", {})
    return [
        Segment(
            f"{concrete}[{number}]", name, int(row["num_docs"]), int(row["deleted_docs"]), int(row["size_in_bytes"])
        )
        for concrete, body in indices.items()
        for number, copies in body["shards"].items()
        for copy in copies
        if copy["routing"]["primary"]
        for name, row in copy["segments"].items()
        if row.get("search")
    ]


def force_merge(api: ClusterApi, index: str, segments: int = 1) -> None:
    """Merge every shard into at most so many segments, and show the result to searches."""
    api.force_merge(index, segments)
    api.refresh(index)
