"""Blocks that refuse writes or new indices, and indices that are closed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.preflight.checks import Check

_CLUSTER = {
    "cluster.blocks.read_only": "the whole cluster is read-only",
    "cluster.blocks.read_only_allow_delete": "the whole cluster is read-only, except for deletions",
    "cluster.blocks.create_index": "the cluster makes no new indices (its disks may be full)",
}
_WRITES = ("index.blocks.write", "index.blocks.read_only", "index.blocks.read_only_allow_delete")
_READS = ("index.blocks.read", "index.blocks.metadata")


def cluster_blocks(settings: Mapping[str, str]) -> Iterator[Check]:
    """``settings``: every cluster setting in force, flat."""
    for name, what in _CLUSTER.items():
        if settings.get(name) == "true":
            call = f'PUT /_cluster/settings {{"persistent": {{"{name}": null}}}}'
            yield Check("blocked", f"{what} ({name}): end that with {call}")


def index_checks(api: ClusterApi, indices: Iterable[str]) -> Iterator[Check]:
    """Of indices that are written to or read from; one that does not exist yet has nothing against it."""
    for index in indices:
        if api.get_mapping(index) is None:
            continue
        if api.count_unless_closed(index) is None:
            yield Check("blocked", f"index {index} is closed; {api.opening_advice(index)}")
            continue
        blocks = block_checks(index, index, api.get_index_settings(index), (*_WRITES, *_READS))
        yield from blocks or [Check("ok", f"index {index} is open and without blocks")]


def block_checks(index: str, shown: str, settings: Mapping[str, str], names: Iterable[str]) -> list[Check]:
    """One for each of the blocks ``names`` that the index has, with the call that removes it; ``shown``: to people."""
    return [
        Check(
            "blocked", f'index {shown} has the block {name}: remove it with PUT /{index}/_settings {{"{name}": null}}'
        )
        for name in names
        if settings.get(name) == "true"
    ]
