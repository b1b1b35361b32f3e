"""The capacity sheet itself: figures for a million documents and for those there are, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from osparse.contracts.deployment import Vector
from osparse.deployer.preflight.capacity import size
from osparse.deployer.sizing.cluster_limits import ClusterLimits

MODELS = 2
"""Of a bundle in mode ml-commons: its encoder and its tokenizer."""


@dataclass(frozen=True)
class Sizes:
    """What so many documents take."""

    documents: int
    vector_bytes: int
    """On disk, of the field with the vectors and its copy in ``_source``."""
    rest_bytes: int
    """On disk, of everything else."""
    all_copies_bytes: int
    """Of the primary shards and their replicas."""
    switch_bytes: int
    """While the index of another bundle is filled beside it, at most."""
    switch_disk_bytes: int
    """Of all disks together, so that ``switch_bytes`` stay below the watermark."""
    seismic_heap_bytes: int | None
    """Of the SEISMIC caches, of the primary shards; None but for a ``sparse_vector`` field."""
    hours_here: float | None
    """Of encoding on this machine; None where it was not measured."""
    hours_cluster: float | None
    """Of encoding by one node's model, one text at a time; None where it was not measured."""

    @property
    def index_bytes(self) -> int:
        return self.vector_bytes + self.rest_bytes


@dataclass(frozen=True)
class CapacitySheet:
    """What a bundle and documents take on a cluster."""

    vector: Vector
    sample: dict[str, Any]
    """``source``, ``documents`` looked at, ``weights`` a document (mean, p99, most), ``cut`` share of the texts."""
    rates: dict[str, Any]
    """Texts a second: ``here`` with ``workers`` processes, and of the ``cluster``; None where not measured."""
    replicas: int
    sizes: tuple[Sizes, ...]
    model_memory_bytes: dict[str, int]
    """Format of the encoder -> bytes of native memory on each node that runs it, estimated."""
    limits: ClusterLimits
    how: tuple[str, ...]
    """How the figures were come by, a sentence each."""

    def to_json(self) -> dict[str, Any]:
        slots = {
            "bundle": MODELS,
            "while_two_run": 2 * MODELS,
            "limit": self.limits.slots,
            "taken": self.limits.running,
        }
        sizes = [{**asdict(one), "index_bytes": one.index_bytes} for one in self.sizes]
        return {**asdict(self), "sizes": sizes, "model_slots": slots}

    def __str__(self) -> str:
        weights = self.sample["weights"]
        title = (
            f"capacity sheet, {self.vector} field, {self.replicas} replica{'' if self.replicas == 1 else 's'}\n"
            f"  {self.sample['source']}: {self.sample['documents']} looked at, {weights['mean']:g} weights a document "
            f"(p99 {weights['p99']:g}, most {weights['most']:g}){_cut(self.sample['cut'])}"
        )
        heads = ["", *(f"{one.documents:,} documents" for one in self.sizes)]
        rows = [heads, *([name, *map(shown, self.sizes)] for name, shown in self._rows())]
        widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
        table = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
        return "\n".join([title, *(f"  {line}" for line in table), *self._models(), *(f"  {how}" for how in self.how)])

    def _rows(self) -> list[tuple[str, Callable[[Sizes], str]]]:
        here = f"hours to encode here, {self.rates['workers']} processes"
        rows: list[tuple[str, Callable[[Sizes], str]]] = [
            ("vectors on disk", lambda one: size(one.vector_bytes)),
            ("everything else on disk", lambda one: size(one.rest_bytes)),
            ("index, one copy", lambda one: size(one.index_bytes)),
            ("index, all copies", lambda one: size(one.all_copies_bytes)),
            ("disk in use during an upgrade", lambda one: size(one.switch_bytes)),
            (f"disks for that (watermark {self.limits.watermark})", lambda one: size(one.switch_disk_bytes)),
        ]
        if self.vector == "sparse_vector":
            rows.append(("heap for the SEISMIC caches", lambda one: size(one.seismic_heap_bytes or 0)))
        if self.rates["here"] is not None:
            rows.append((here, lambda one: _hours(one.hours_here)))
        if self.rates["cluster"] is not None:
            rows.append(("hours to encode on the cluster", lambda one: _hours(one.hours_cluster)))
        return rows

    def _models(self) -> list[str]:
        limits = self.limits
        slots = (
            f"  model slots of each ML node: {MODELS}, and {2 * MODELS} while two bundles run; limit {limits.slots}, "
            f"{limits.running} taken (mode ml-commons)"
        )
        memory = [
            f"  native memory for the encoder on each ML node ({form}): {size(needed)}, and {size(2 * needed)} while "
            "two bundles run (estimated)"
            for form, needed in self.model_memory_bytes.items()
        ]
        free = [f"  disk free below the watermark: {size(limits.free_bytes)}"] if limits.free_bytes is not None else []
        heap = (
            [f"  heap of the node that has least: {size(limits.heap_bytes)}"] if limits.heap_bytes is not None else []
        )
        return [slots, *memory, *free, *heap]


def _hours(hours: float | None) -> str:
    if hours is None:
        return "-"
    return f"{hours * 60:.1f} min" if hours < 1 else f"{hours:.1f} h"


def _cut(share: float | None) -> str:
    return "" if share is None else f", {share:.0%} of the texts longer than the encoder reads"


def weights_of(counts: tuple[int, ...]) -> dict[str, float]:
    """Mean, 99th percentile and most of the non-zeros."""
    ordered = sorted(counts)
    return {
        "mean": float(f"{sum(ordered) / len(ordered):.4g}"),
        "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
        "most": ordered[-1],
    }
