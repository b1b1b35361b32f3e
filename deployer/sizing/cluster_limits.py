"""What a cluster has for another index and another bundle: disks, memory, model slots, copies of a shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.mlcommons.api import MLCommons
from osparse.deployer.mlcommons.settings_step import MAX_MODELS, local_models
from osparse.deployer.preflight.capacity import HIGH_WATERMARK, reserve
from osparse.deployer.preflight.requests import PreflightRequests
from osparse.deployer.segments.seismic import BREAKER

DEFAULTS = {HIGH_WATERMARK: "90%", MAX_MODELS: "10", BREAKER: "10%"}
"""Of a cluster that was not asked."""


@dataclass(frozen=True)
class ClusterLimits:
    """As the cluster says, or OpenSearch's defaults where none was asked."""

    nodes: int | None = None
    """That hold data; None where no cluster was asked."""
    watermark: str = DEFAULTS[HIGH_WATERMARK]
    """Disk in use above which shards are moved off a node."""
    free_bytes: int | None = None
    """Of all disks together, below the watermark."""
    heap_bytes: int | None = None
    """Of the node that has least."""
    slots: int = int(DEFAULTS[MAX_MODELS])
    """Models that may run on a node."""
    running: int = 0
    """Models on the node that runs most."""
    seismic_limit: str = DEFAULTS[BREAKER]
    """What the SEISMIC caches may take: a share of a node's heap, or bytes."""

    def disk_of(self, needed: float) -> float:
        """Bytes that all disks must have together, so that ``needed`` are below the watermark."""
        if not self.watermark.endswith("%") and self.watermark[-1:].isalpha():
            return needed + (self.nodes or 1) * reserve(self.watermark, 0)
        return needed / (1 - reserve(self.watermark, 1.0))


def read_limits(api: ClusterApi) -> ClusterLimits:
    """Ask a cluster; what it does not let the user see is left at OpenSearch's default."""
    settings = {**DEFAULTS, **api.settings()}
    nodes = PreflightRequests(api.cluster).limits()
    mark = settings[HIGH_WATERMARK]
    disks = [node["fs"]["total"] for node in nodes.values() if "total_in_bytes" in node.get("fs", {}).get("total", {})]
    free = [max(0.0, disk["available_in_bytes"] - reserve(mark, disk["total_in_bytes"])) for disk in disks]
    heaps = [int(node["jvm"]["mem"]["heap_max_in_bytes"]) for node in _with_heap(api)]
    return ClusterLimits(
        len(disks) or None, mark, int(sum(free)) if disks else None, min(heaps, default=None),
        int(float(settings[MAX_MODELS])), _most_models(MLCommons(api.cluster).profiles()), settings[BREAKER],
    )  # fmt: skip


def _most_models(profiles: Mapping[str, Mapping[str, Mapping[str, object]]]) -> int:
    return max((len(local_models(models)) for models in profiles.values()), default=0)


def _with_heap(api: ClusterApi) -> list[Mapping[str, Any]]:
    return [node for node in api.node_stats().values() if "heap_max_in_bytes" in node.get("jvm", {}).get("mem", {})]
