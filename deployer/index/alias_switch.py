"""Blue and green: a new index is filled beside the one in use, passes a gate, and takes over the name in one call."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import Deployment
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.index.copy import VectorOrigin, copy_documents
from osparse.deployer.index.gate import Gate, GateChecks
from osparse.deployer.index.generations import SUFFIX, Generation, alias_note, foreign_aliases
from osparse.deployer.plan import Finding, Made
from osparse.errors import CheckError, ClusterError
from osparse.opensearch_templates import render

log = logging.getLogger("osparse.deployer.index.alias_switch")

PASSES = 3
"""Over the old index, at most: what was written to it during one pass is copied by the next."""
ROUNDS = 3
"""Further passes after the gate, at most, while the old index is still written to."""


@dataclass(frozen=True)
class CopiedDocuments:
    """Step: the new index holds what the old one holds."""

    api: ClusterApi
    old: Generation
    new: str
    deployment: Deployment
    origin: VectorOrigin = field(default_factory=VectorOrigin)
    """Who encodes the copied documents."""
    takes = ()

    def inspect(self, made: Made) -> Finding:
        """Only the copy itself can tell whether every document is there with its last content."""
        what = f"documents of {self.old.index} in {self.new}"
        old = self.api.count(self.old.index)
        new = self.api.count(self.new) if self.api.get_mapping(self.new) is not None else 0
        return Finding("change", what, f"{old:,} there, {new:,} here: those missing or changed are copied")

    def apply(self, made: Made) -> Made:
        for _ in range(PASSES):
            documents, copied_to = self.copy_once()
            if not documents:
                break
        return Made(copied_to=copied_to)

    def copy_once(self) -> tuple[int, Mapping[str, int]]:
        """One pass over the old index: the documents copied, and :meth:`ClusterApi.writes` when it began."""
        copied_to = self.api.writes(self.old.index)
        self.api.refresh(self.old.index)  # or what was written last, also during the pass before, is not found
        total = self.api.count(self.old.index)
        copied = copy_documents(
            self.api, self.old.index, self.old.deployment, self.new, self.deployment, total, self.origin
        )
        log.info("%s: %d documents copied, %d were there", self.new, copied.indexed, copied.unchanged)
        return copied.indexed, copied_to

    def is_complete(self, copied_to: Mapping[str, int]) -> bool:
        """Whether nothing was written to the old index since the pass that began then."""
        return self.api.writes(self.old.index) == copied_to


@dataclass(frozen=True)
class Switch:
    """Step: the name stands on the new index, which has passed the gate."""

    api: ClusterApi
    alias: str
    old: Generation
    new: str
    bundle: Bundle
    deployment: Deployment
    gate: Gate | None
    carry_aliases: bool = False
    """Move the aliases that others put on the old index along."""
    copied: CopiedDocuments | None = None
    """The step that copied; None where the caller fills the new index."""
    takes = ()

    @property
    def _checks(self) -> GateChecks:
        return GateChecks(self.api, self.alias, self.old.index, self.new, self.bundle, self.deployment, self.gate)

    def inspect(self, made: Made) -> Finding:
        checks = ["the served weights are the probes'", "no fewer documents"]
        if self.gate is not None:
            checks.append(self._checks.planned(self.gate))
        what = f"alias {self.alias}: {self.old.index} -> {self.new}"
        why = [f"once the gate holds: {'; '.join(checks)}", *self._aliases()]
        return Finding("change", what, ". ".join(why))

    def apply(self, made: Made) -> Made:
        """Raises :class:`CheckError` and leaves the alias alone if the gate does not hold."""
        report = [self._checks.weights(), self._checks.documents()]
        if self.gate is not None:
            report.append(self._checks.quality(self.gate))
        notes = self._aliases()
        if self.copied is not None:
            report[1] = self._catch_up(self.copied, made.copied_to) or report[1]
        move_alias(self.api, self.alias, self.old.index, self.new, carry=self.carry_aliases)
        return Made(gate=tuple(report), notes=tuple(notes))

    def _catch_up(self, copied: CopiedDocuments, copied_to: Mapping[str, int]) -> str:
        """Copy what was written to the old index during the gate or the last pass; says how many documents there are.

        Empty where nothing was written.

        Raises:
            CheckError: it is still written to after :data:`ROUNDS` passes.
        """
        documents = ""
        for _ in range(ROUNDS):
            if copied.is_complete(copied_to):
                return documents
            _, copied_to = copied.copy_once()
            documents = self._checks.documents()
        if not copied.is_complete(copied_to):
            raise CheckError(
                f"{self.old.index} was written to during each of {ROUNDS} further passes of the copy, and what is "
                f"written last would be missing from {self.new}; {self.alias} stays on the old one. Pause what writes "
                "to it and deploy again (what is copied already is kept), or write to both indices and deploy with "
                "`copy=False`"
            )
        return documents

    def _aliases(self) -> list[str]:
        """What becomes of the aliases that others put on the old index; nothing where there are none."""
        others = ", ".join(foreign_aliases(self.api, self.alias, self.old.index))
        return [alias_note(others, self.old.index, self.carry_aliases)] if others else []


def move_alias(api: ClusterApi, alias: str, old: str, new: str, *, carry: bool = False) -> None:
    """Put ``alias`` from ``old`` on ``new`` and ``<alias>-previous`` on ``old``, all in one call.

    Args:
        carry: Move every other alias of ``old`` along, with its filter, routing and flags.

    Raises:
        ClusterError: the cluster refused, or somebody else moved the alias meanwhile.
    """
    former = [name for name in api.indices_of_alias(alias + SUFFIX) if name != old]
    actions = render("alias_move", alias=alias, previous=alias + SUFFIX, old=old, new=new)["actions"]
    actions += [render("alias_drop", index=name, alias=alias + SUFFIX) for name in former]
    for name, properties in foreign_aliases(api, alias, old).items() if carry else ():
        add = render("alias_add", index=new, alias=name)["actions"][0]["add"]
        actions += [render("alias_drop", index=old, alias=name), {"add": {**add, **properties}}]
    try:
        api.update_aliases({"actions": actions})
    except ClusterError:
        if api.indices_of_alias(alias) != [new]:  # the answer may be what was lost
            raise
    log.info("%s now stands on %s", alias, new)
