"""Whether memory, disk and the limit of shards allow what a deploy adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from osparse.deployer.preflight.checks import Check

HIGH_WATERMARK = "cluster.routing.allocation.disk.watermark.high"
MAX_SHARDS = "cluster.max_shards_per_node"
HEAP_THRESHOLD = "plugins.ml_commons.jvm_heap_memory_threshold"
BREAKER_TIGHT = 0.9
"""Share of the parent circuit breaker's limit."""
COPY_FACTOR = 1.5
"""Bytes that the copy of an index may take at most while it is filled, for each byte of the finished one: segments that
are being merged are there twice for a time, and the other bundle's vectors may be longer."""
_UNITS = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}
Nodes = Mapping[str, Mapping[str, Any]]


def breaker_checks(nodes: Nodes) -> Iterator[Check]:
    for node in nodes.values():
        parent = node.get("breakers", {}).get("parent", {})
        limit, used = parent.get("limit_size_in_bytes", 0), parent.get("estimated_size_in_bytes", 0)
        if not limit:
            continue
        share = used / limit
        text = f"node {node.get('name')}: the parent circuit breaker stands at {share:.0%} of {limit / 1e9:.1f} GB"
        if share >= 1:
            yield Check("blocked", f"{text}: requests are refused; wait, or give the node more heap")
        elif share >= BREAKER_TIGHT:
            yield Check("note", f"{text}: large requests may be refused (they are sent again)")
        else:
            yield Check("ok", text)


def heap_checks(nodes: Nodes, settings: Mapping[str, str]) -> Iterator[Check]:
    """ML Commons deploys no model on a node whose heap is fuller than its threshold; ``nodes`` have ``jvm.mem``."""
    most = int(float(settings.get(HEAP_THRESHOLD, "85")))
    for node in nodes.values():
        heap = node.get("jvm", {}).get("mem", {}).get("heap_used_percent")
        if heap is not None and most < 100 and heap > most:
            yield Check(
                "note",
                f"node {node.get('name')}: heap {heap} % in use, and ML Commons deploys no model above {most} % "
                f"({HEAP_THRESHOLD}); wait for a garbage collection, or give the node more heap",
            )


def disk_check(nodes: Nodes, settings: Mapping[str, str], needed: float, what: str) -> Iterator[Check]:
    """``needed``: bytes on all nodes together, below the high watermark."""
    disks = [node["fs"]["total"] for node in nodes.values() if "total_in_bytes" in node.get("fs", {}).get("total", {})]
    if not disks:
        return
    mark = settings.get(HIGH_WATERMARK, "90%")
    free = sum(max(0.0, disk["available_in_bytes"] - reserve(mark, disk["total_in_bytes"])) for disk in disks)
    text = f"{what} takes up to {size(needed)}, and {size(free)} of disk are free below the high watermark ({mark})"
    if needed > free:
        yield Check("blocked", f"{text}: free disk space or add a node")
    else:
        yield Check("ok", text)


def shard_check(health: Mapping[str, Any], settings: Mapping[str, str], more: int) -> Iterator[Check]:
    """``more``: shards, replicas included, that are going to be made."""
    if health.get("status") == "red":
        yield Check("note", "the cluster is red: primary shards are missing; GET /_cluster/allocation/explain says why")
    nodes = int(health.get("number_of_data_nodes", 0))
    if not nodes or not more:
        return
    there = sum(int(health.get(kind, 0)) for kind in ("active_shards", "unassigned_shards", "initializing_shards"))
    most = int(settings.get(MAX_SHARDS, "1000")) * nodes
    text = f"{there:,} shards of at most {most:,}, and {more} more"
    if there + more > most:
        yield Check("blocked", f"{text}: delete indices, or raise {MAX_SHARDS}")
    else:
        yield Check("ok", text)


def reserve(mark: str, total: float) -> float:
    """Bytes of a disk that have to stay free under a watermark: "90%" in use, the ratio 0.9, or "10gb" free."""
    if mark.endswith("%"):
        return total * (1 - float(mark[:-1]) / 100)
    digits = mark.rstrip("abcdefghijklmnopqrstuvwxyz").strip()
    unit = mark[len(digits) :].strip()
    return float(digits) * _UNITS.get(unit, 1.0) if unit else total * (1 - float(digits))


def size(number: float) -> str:
    """Bytes for people."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number / 1e3:.0f} kB"
