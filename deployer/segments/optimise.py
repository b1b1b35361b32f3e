"""Merge the segments of an index that serves, and warm it up."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from osparse.contracts.deployment import Deployment
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.index.seismic_parameters import threshold_of
from osparse.deployer.index.seismic_threads import THREADS
from osparse.deployer.load.read_deployment import read_deployment
from osparse.deployer.segments.segments import Segment, force_merge, read_segments
from osparse.deployer.segments.seismic import split_segments, warm_up_seismic
from osparse.deployer.segments.warm_up import warm_up
from osparse.errors import ClusterError, InputError
from osparse.opensearch_templates import render

log = logging.getLogger("osparse.deployer.segments.optimise")

LARGEST_SEGMENT = 5_000_000_000
"""Bytes: Lucene's own merges make no larger segment, and a larger one is only merged again when half is deleted."""
MOST_THREADS = 1024


@dataclass(frozen=True)
class Optimised:
    """What was done to an index, or with ``plan_only`` would be."""

    index: str
    before: list[Segment]
    after: list[Segment]
    target: int
    """Segments of each shard, at most."""
    merged: bool
    warmed: int
    """Searches sent to warm it up; the SEISMIC caches come on top."""
    applied: bool
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        size = sum(segment.bytes for segment in self.after)
        change = f"{len(self.before)} segments" + (f" -> {len(self.after)}" if self.merged and self.applied else "")
        would = "" if self.applied or not self.merged else f", would be merged to {self.target} a shard"
        warmed = f", warmed up by {self.warmed} searches" if self.warmed else ""
        return "\n".join(
            [f"{self.index}: {change}{would}, {size / 1e6:.1f} MB{warmed}", *(f"  note: {note}" for note in self.notes)]
        )


def optimise(
    cluster: Cluster,
    index: str,
    *,
    segments: int | None = None,
    threads: int | None = None,
    plan_only: bool = False,
) -> Optimised:
    """Merge each shard of a deployed index into few segments and warm it up.

        optimise(cluster, "products")

    For an index that is loaded in one go: a merge of one that is written all the time is undone by the next writes.

    Args:
        segments: Segments of each shard; without it as few as keep each below :data:`LARGEST_SEGMENT`.
        threads: Of a ``sparse_vector`` field: threads that build it meanwhile, a setting of the cluster, which is put
            back afterwards.
        plan_only: Say what would be done, and change nothing.

    Raises:
        InputError: a number out of its range, or ``threads`` for an index without a ``sparse_vector`` field.
        ClusterError: osparse did not deploy the index, or the cluster refuses.
    """
    api, deployment = ClusterApi(cluster), read_deployment(cluster, index)
    _check(segments, threads, deployment)
    before = read_segments(api, index)
    target = segments or target_segments(before)
    merged = needs_merge(before, target)
    notes = [*_notes(api, index, deployment, before, merged)]
    if plan_only:
        return Optimised(index, before, before, target, merged, 0, False, notes)
    if merged:
        with _threads(api, threads):
            force_merge(api, index, target)
    after = read_segments(api, index) if merged else before
    if deployment.vector == "sparse_vector" and _large(api, index, deployment, after):
        try:
            warm_up_seismic(api, index)
        except ClusterError as problem:
            notes.append(str(problem))
    return Optimised(index, before, after, target, merged, warm_up(api, index, deployment), True, notes)


def target_segments(segments: Sequence[Segment]) -> int:
    """Segments of each shard that keep the largest shard's below :data:`LARGEST_SEGMENT`, at least 1."""
    return max((math.ceil(size / LARGEST_SEGMENT) for size in _by_shard(segments).values()), default=1) or 1


def needs_merge(segments: Sequence[Segment], target: int) -> bool:
    """Whether a shard has more segments than that, or deleted documents in them."""
    numbers: dict[str, int] = {}
    for segment in segments:
        numbers[segment.shard] = numbers.get(segment.shard, 0) + 1
    return any(number > target for number in numbers.values()) or any(segment.deleted for segment in segments)


def _by_shard(segments: Sequence[Segment]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for segment in segments:
        sizes[segment.shard] = sizes.get(segment.shard, 0) + segment.bytes
    return sizes


def _check(segments: int | None, threads: int | None, deployment: Deployment) -> None:
    if segments is not None and segments < 1:
        raise InputError(f"`segments` must be at least 1, got {segments}")
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise InputError(f"`threads` must be from 1 to {MOST_THREADS}, got {threads}")
    if threads is not None and deployment.vector != "sparse_vector":
        raise InputError(f"`threads` build a sparse_vector field, and this index has {deployment.vector}; leave it out")


def _large(api: ClusterApi, index: str, deployment: Deployment, segments: Sequence[Segment]) -> list[Segment]:
    """The segments that SEISMIC searches."""
    (found,) = (api.get_mapping(index) or {}).values()
    return split_segments(segments, threshold_of(found["mappings"], deployment.field))[0]


def _notes(
    api: ClusterApi, index: str, deployment: Deployment, before: Sequence[Segment], merged: bool
) -> Iterator[str]:
    if not merged:
        yield "it has few enough segments and no deleted documents, so nothing is merged"
    if deployment.vector != "sparse_vector":
        return
    total = max((sum(s.documents for s in before if s.shard == shard) for shard in _by_shard(before)), default=0)
    (found,) = (api.get_mapping(index) or {}).values()
    threshold = threshold_of(found["mappings"], deployment.field)
    if merged and total >= threshold:
        yield (
            "a merge makes larger SEISMIC segments, which costs recall at heap_factor 1 (.989 to .957 of 8,028 "
            "documents) and none at heap_factor 2; see it with: osparse status --recall 100"
        )
    if total < threshold:
        yield f"shards have up to {total:,} documents, below the threshold of {threshold:,}: they are searched exactly"


@contextmanager
def _threads(api: ClusterApi, threads: int | None) -> Iterator[None]:
    """The cluster setting :data:`THREADS` in the block; put back after it, also when the merge fails."""
    if threads is None:
        yield
        return
    before = api.persistent_settings().get(THREADS)
    api.put_settings(render("cluster_settings_ml", settings={THREADS: threads}))
    try:
        yield
    finally:
        api.put_settings(render("cluster_settings_ml", settings={THREADS: before}))
