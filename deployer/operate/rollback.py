"""Give a name back to the index that had it before: one call, no document moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from osparse.contracts.deployment import Deployment
from osparse.deployer import names
from osparse.deployer.adopt.give_back import AdoptedPair, adopted_pair
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.health.rewiring import pipeline_steps
from osparse.deployer.health.status import DeploymentStatus, ModelStatus, existing_models, status
from osparse.deployer.index.alias_switch import move_alias
from osparse.deployer.index.generations import alias_note, foreign_aliases, read_generations
from osparse.deployer.index.pipeline_steps import FusingPipeline
from osparse.errors import ClusterError, InputError


@dataclass(frozen=True)
class RollbackResult:
    """What a rollback did, or with ``plan_only`` would do."""

    alias: str
    left: str
    """The index that served."""
    serves: str
    """The index that serves now."""
    bundle: str | None
    """None: osparse did not make the index that serves now."""
    fingerprint: str | None
    documents: int
    documents_left: int | None
    """In the index that was left: those loaded since the switch are not in the other. None: closed or not readable."""
    applied: bool
    notes: list[str] = field(default_factory=list)
    """What else becomes of the index that was left."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        how = "now stands on" if self.applied else "would go back to"
        whose = f"bundle {self.bundle}" if self.bundle is not None else "not made by osparse"
        lines = [f"{self.alias} {how} {self.serves} ({whose}, {self.documents:,} documents), not {self.left}"]
        if self.documents_left is None:
            lines.append(f"  {self.left} is closed or not readable: what was written since the switch is there only")
        elif self.documents != self.documents_left:
            lines.append(
                f"  {self.left} holds {self.documents_left:,} documents: what was written since the switch is there "
                f"only; load it again with: osparse index --index {self.alias} DOCUMENTS"
            )
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join([*lines, *([] if self.applied else ["nothing was touched"])])


def rollback(cluster: Cluster, index: str, *, plan_only: bool = False, carry_aliases: bool = False) -> RollbackResult:
    """Move the alias ``index`` back to the index it stood on before; a second rollback undoes the first.

    Args:
        plan_only: Say what would be done and touch nothing.
        carry_aliases: Move the aliases that others put on the index that is left along. Between an index that was
            adopted and the one made from it they always move.

    Raises:
        InputError: nothing serves under the name, or nothing did before.
        ClusterError: the index before is not ready to serve (its models, pipelines or parts are gone).
    """
    api = ClusterApi(cluster)
    pair = adopted_pair(api, index)
    if pair is not None:
        return _between(cluster, index, pair, plan_only)
    found = read_generations(api, index)
    if found.current is None:
        there = ", ".join(one.index for one in found.others)
        raise InputError(f"{index} is served by no index; {f'there are: {there}; ' if there else ''}use osparse deploy")
    if found.previous is None:
        raise InputError(f"{index} has stood on {found.current.index} only: there is nothing to go back to")
    old, new = found.current, found.previous
    state = _ready(cluster, index, new.index, old.index)
    others = ", ".join(foreign_aliases(api, index, old.index))
    notes = [alias_note(others, old.index, carry_aliases)] if others else []
    documents_left = _readable_count(api, old.index)
    if not plan_only:
        move_alias(api, index, old.index, new.index, carry=carry_aliases)
        notes += _hybrid_notes(api, index, old.deployment, new.deployment, state.models)
    return RollbackResult(
        alias=index,
        left=old.index,
        serves=new.index,
        bundle=new.deployment.bundle,
        fingerprint=new.deployment.fingerprint,
        documents=state.documents,
        documents_left=documents_left,
        applied=not plan_only,
        notes=notes,
    )


def _ready(cluster: Cluster, alias: str, index: str, serving: str) -> DeploymentStatus:
    """The state of the index that is to serve; raises :class:`ClusterError` if it could not."""
    (state,) = status(cluster, index)
    problems = [problem for problem in state.problems if not problem.startswith("no alias")]
    if problems:
        raise ClusterError(
            f"{index} cannot serve as it is, and {alias} stays on {serving}: {'; '.join(problems)}. Deploying "
            f"its bundle ({state.deployment.bundle}, fingerprint {state.deployment.fingerprint[:12]}) repairs it"
        )
    return state


def _between(cluster: Cluster, alias: str, pair: AdoptedPair, plan_only: bool) -> RollbackResult:
    """Back to an index that was adopted, or forward again to the one made from it."""
    api = ClusterApi(cluster)
    state = None if pair.back else _ready(cluster, alias, pair.serves, pair.leaves)
    documents, documents_left = api.count(pair.serves), _readable_count(api, pair.leaves)
    others = ", ".join(foreign_aliases(api, alias, pair.leaves))
    if not plan_only:
        move_alias(api, alias, pair.leaves, pair.serves, carry=True)
    return RollbackResult(
        alias=alias,
        left=pair.leaves,
        serves=pair.serves,
        bundle=state.deployment.bundle if state is not None else None,
        fingerprint=state.deployment.fingerprint if state is not None else None,
        documents=documents,
        documents_left=documents_left,
        applied=not plan_only,
        notes=[alias_note(others, pair.leaves, True)] if others else [],
    )


def _readable_count(api: ClusterApi, index: str) -> int | None:
    """Documents of an index; None if it is closed or cannot be counted, which is no reason to stay on it."""
    try:
        return api.count_unless_closed(index)
    except ClusterError:
        return None


def _hybrid_notes(
    api: ClusterApi, alias: str, old: Deployment, new: Deployment, models: Sequence[ModelStatus]
) -> list[str]:
    """Rewrite the pipeline of hybrid queries; a note where that failed: an error would suggest to roll back again."""
    try:
        _rewrite_hybrid(api, alias, old, new, models)
    except ClusterError as problem:
        return [
            f"alias moved; run: osparse status --heal, because search pipeline {names.fusing_pipeline(alias)} was not "
            f"rewritten ({problem}); where that repairs nothing, run osparse deploy with the bundle that serves now"
        ]
    return []


def _rewrite_hybrid(
    api: ClusterApi, alias: str, old: Deployment, new: Deployment, models: Sequence[ModelStatus]
) -> None:
    """The pipeline that hybrid queries under the alias name is that of the index it stands on now."""
    hybrid = new.hybrid if new.hybrid != "none" else old.hybrid
    for step in pipeline_steps(api, alias, new, hybrid):
        if isinstance(step, FusingPipeline):
            step.apply(existing_models(models, new))
