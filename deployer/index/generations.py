"""The indices that serve, served or will serve one name: ``<name>-<fingerprint>`` each, told apart by two aliases.

``<name>`` stands on the one in use, ``<name>-previous`` on the one before it. Both move in one call, so that the
cluster itself holds the history and a query always finds exactly one index.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from osparse.contracts.deployment import META_KEY, Deployment
from osparse.deployer.cluster.api import ClusterApi
from osparse.errors import ClusterError, DeploymentConflictError

SUFFIX = "-previous"


@dataclass(frozen=True)
class Generation:
    """One index of a name."""

    index: str
    deployment: Deployment
    created: int
    """Milliseconds since 1970, as the cluster says."""


@dataclass(frozen=True)
class Generations:
    alias: str
    current: Generation | None
    """The one the alias stands on."""
    previous: Generation | None
    """The one ``<alias>-previous`` stands on; where that alias is gone, the youngest that is older than the current."""
    others: tuple[Generation, ...]
    """Those that served before, as far as the cluster shows: the previous first, then from young to old."""
    waiting: tuple[Generation, ...] = ()
    """Younger than the current and not the previous: staged, or being filled, and not yet through the gate."""

    @property
    def all(self) -> list[Generation]:
        return [*([self.current] if self.current else []), *self.others, *self.waiting]


def read_generations(api: ClusterApi, alias: str) -> Generations:
    """Read them from the cluster.

    Raises:
        DeploymentConflictError: the alias stands on several indices, or on one osparse did not make.
    """
    made = deployments_of(api.all_meta(f"{alias}-*"))  # a user may see no more than these
    mine = {
        name: Generation(name, deployment, api.creation_date(name))
        for name, deployment in made.items()
        if re.fullmatch(rf"{re.escape(alias)}-{deployment.fingerprint[:12]}", name)
    }
    in_use = api.indices_of_alias(alias)
    strangers = [name for name in in_use if name not in mine]
    if len(in_use) > 1 or strangers:
        raise DeploymentConflictError(
            f"the alias {alias} stands on {', '.join(in_use)}; it must be on one index that osparse made "
            f"({alias}-<fingerprint>); point it at that one, or choose another `index`"
        )
    current = mine.get(in_use[0]) if in_use else None
    marked = [mine[name] for name in api.indices_of_alias(alias + SUFFIX) if name in mine]
    young = sorted(mine.values(), key=lambda one: (one.created, one.index), reverse=True)
    others = [one for one in dict.fromkeys([*marked, *young]) if current is None or one.index != current.index]
    waiting = [one for one in others if current is not None and one.created > current.created and one not in marked]
    others = [one for one in others if one not in waiting]
    previous = others[0] if current is not None and others else None
    return Generations(alias, current, previous, tuple(others), tuple(waiting))


def deployments_of(found: Mapping[str, Any], unreadable: dict[str, str] | None = None) -> dict[str, Deployment]:
    """Those osparse made, of concrete index -> ``_meta``; anything may stand in another's.

    Args:
        unreadable: Takes index -> problem of those whose ``_meta`` is osparse's and damaged, or of another version.

    Raises:
        ClusterError: there is such an index and ``unreadable`` is None: what it uses cannot be known.
    """
    made: dict[str, Deployment] = {}
    for name, meta in sorted(found.items()):
        ours = meta.get(META_KEY) if isinstance(meta, Mapping) else None
        if isinstance(meta, Mapping) and isinstance(ours, Mapping) and "schema" in ours:
            try:
                made[name] = Deployment.from_meta(meta, name)
            except ClusterError as problem:
                if unreadable is None:
                    raise
                unreadable[name] = str(problem)
    return made


def foreign_aliases(api: ClusterApi, alias: str, index: str) -> dict[str, dict[str, Any]]:
    """Alias -> its filter, routing and flags, of those on an index that osparse did not put there."""
    return {name: body for name, body in api.alias_properties(index).items() if name not in (alias, alias + SUFFIX)}


def alias_note(aliases: str, old: str, carried: bool) -> str:
    """What a switch does with the aliases that others put on the old index."""
    if carried:
        return f"other aliases that move along: {aliases}"
    return f"other aliases that stay on {old}: {aliases} (`carry_aliases=True` moves them along)"
