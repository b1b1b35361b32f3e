"""The name that is to be served: what stands under it now, and how it moves to the new index in one call."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal

from osparse.deployer.adopt.calls import RESIZED, clone_index
from osparse.deployer.adopt.source_index import SourceIndex
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.index.alias_switch import move_alias
from osparse.deployer.index.generations import SUFFIX, foreign_aliases
from osparse.errors import CheckError, ClusterError, DeploymentConflictError
from osparse.opensearch_templates import render

log = logging.getLogger("osparse.deployer.adopt.name")

Standing = Literal["free", "on the source", "the source itself"]
CLONE = "-original"
"""What the name of the clone ends with that stays where the source itself had the name."""


@dataclass(frozen=True)
class ServedName:
    """The alias, and what it means today."""

    api: ClusterApi
    alias: str
    new: str
    source: SourceIndex
    standing: Standing
    carry_aliases: bool = False
    """Move the source's other aliases along also where the name itself is new."""

    @property
    def clone(self) -> str:
        return f"{self.alias}{CLONE}"

    @property
    def before(self) -> str | None:
        """The index that a rollback gives the name back to; None: it has had none."""
        if self.source.remote:
            return None
        return self.clone if self.standing == "the source itself" else self.source.index

    @property
    def plan(self) -> str:
        if self.standing == "the source itself":
            return (
                f"{self.source.index} is cloned as {self.clone}, then in one call {self.source.index} is removed and "
                f"{self.alias} becomes an alias of {self.new}"
            )
        return f"alias {self.alias}: {self.source.shown} -> {self.new}"

    def aliases(self) -> dict[str, dict[str, Any]]:
        """The source's other aliases with their filters and routing, those that come along."""
        others = foreign_aliases(self.source.api, self.alias, self.source.index)
        if self.source.remote:
            return {name: body for name, body in others.items() if self.api.get_index(name) is None}
        return others if self.standing != "free" or self.carry_aliases else {}

    def aliases_left(self) -> list[str]:
        """The source's other aliases that stay behind."""
        return sorted({*foreign_aliases(self.source.api, self.alias, self.source.index)} - {*self.aliases()})

    def take(self) -> None:
        """Move the name. The source must refuse writes where it is to be cloned.

        Raises:
            ClusterError: the cluster refused, or somebody else moved the alias meanwhile.
        """
        if self.standing == "on the source":
            move_alias(self.api, self.alias, self.source.index, self.new, carry=True)
            return
        carried = [
            {"add": {**_add(self.new, name), **body}} for name, body in self.aliases().items() if name != self.alias
        ]
        actions = [{"add": _add(self.new, self.alias)}, *carried]
        if self.standing == "the source itself":
            self._clone()
            actions.insert(0, render("index_remove", index=self.source.index))
        elif not self.source.remote:
            actions += [render("alias_drop", index=self.source.index, alias=name) for name in self.aliases()]
        if self.before is not None:
            actions.append({"add": _add(self.before, f"{self.alias}{SUFFIX}")})
        self._send(actions)

    def _send(self, actions: list[dict[str, Any]]) -> None:
        try:
            self.api.update_aliases({"actions": actions})
        except ClusterError:
            if self.api.indices_of_alias(self.alias) != [self.new]:  # the answer may be what was lost
                raise
        log.info("%s now stands on %s", self.alias, self.new)

    def _clone(self) -> None:
        """A clone that an interrupted run left is made again: the source may have changed since.

        Raises:
            DeploymentConflictError: an index of the clone's name is something else.
            CheckError: the clone is not whole.
        """
        api, index = self.api, self.source.index
        if (found := api.get_index(self.clone)) is not None:
            settings = api.get_index_settings(self.clone) if self.clone in found else {}
            if settings.get(RESIZED) != self.source.uuid:
                raise DeploymentConflictError(
                    f"{self.clone} exists, and {index} would be kept under that name for a rollback; remove that index"
                )
            api.delete_index(self.clone)
        clone_index(api, index, self.clone)
        kept, there = api.count(self.clone), api.count(index)
        if kept != there:
            raise CheckError(
                f"the clone {self.clone} holds {kept:,} documents and {index} {there:,}; nothing was moved"
            )


def standing_of(api: ClusterApi, alias: str, source: SourceIndex, *, replace_index: bool) -> Standing:
    """What stands under the name.

    Raises:
        DeploymentConflictError: something else than the source, or the source itself without ``replace_index``.
    """
    on = api.indices_of_alias(alias)
    local = None if source.remote else source.index
    if on == [local]:
        return "on the source"
    if on:
        raise DeploymentConflictError(
            f"the alias {alias} stands on {', '.join(on)}, not on {source.shown}; name that index as `source`, or "
            "choose another `index`"
        )
    if local == alias:
        if not replace_index:
            raise DeploymentConflictError(_itself(alias))
        return "the source itself"
    if api.get_mapping(alias) is not None:
        raise DeploymentConflictError(
            f"{alias} is an index of its own, and an alias of that name is to be made; choose another `index`"
        )
    return "free"


def _itself(alias: str) -> str:
    return (
        f"{alias} is the index itself and no alias, and no other index can be served under that name while it exists. "
        "Choose another `index`, which programs then ask instead: no query fails. Or give `replace_index`: the index "
        f"refuses writes for some seconds while it is cloned as {alias}{CLONE} (its segments are linked); then one "
        f"call removes it and puts the alias {alias} in its place. Queries of that moment are answered with 503, "
        "as clients repeat it; none fails that is asked again. A rollback leads to the clone"
    )


def _add(index: str, alias: str) -> dict[str, Any]:
    return dict(render("alias_add", index=index, alias=alias)["actions"][0]["add"])
