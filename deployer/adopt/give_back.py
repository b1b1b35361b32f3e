"""Give a name back where one of the two indices is not osparse's: an adopted index and the one made from it."""

from __future__ import annotations

from dataclasses import dataclass

from osparse.contracts.deployment import META_KEY
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.index.generations import SUFFIX


@dataclass(frozen=True)
class AdoptedPair:
    """The two indices between which the name moves; every alias of the one moves along."""

    leaves: str
    serves: str
    back: bool
    """Whether the index that is to serve is the one that was adopted, not the one that osparse made."""


def adopted_pair(api: ClusterApi, alias: str) -> AdoptedPair | None:
    """None where the name, and the one before, stand on osparse's own indices, or on several, or on none."""
    current, previous = api.indices_of_alias(alias), api.indices_of_alias(alias + SUFFIX)
    if len(current) != 1 or len(previous) != 1:
        return None
    here, there = _is_ours(api, current[0]), _is_ours(api, previous[0])
    if here == there:
        return None
    return AdoptedPair(current[0], previous[0], back=here)


def _is_ours(api: ClusterApi, index: str) -> bool:
    found = (api.get_mapping(index) or {}).get(index, {})
    return META_KEY in found.get("mappings", {}).get("_meta", {})
