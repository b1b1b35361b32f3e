"""Remove the old indices of a name, and the models, pipelines and bundle parts that nothing else uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from osparse.contracts.deployment import BASELINE_META_KEY, Deployment
from osparse.deployer import names
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.cluster.facts import look
from osparse.deployer.cluster.in_use import read_uses
from osparse.deployer.index.generations import SUFFIX, Generation, Generations, deployments_of, read_generations
from osparse.deployer.operate.orphans import remove_empty_groups, remove_orphans
from osparse.deployer.operate.removal import Removal
from osparse.errors import InputError


@dataclass(frozen=True)
class UndeployResult:
    """What was removed, or with ``plan_only`` would be."""

    index: str
    in_use: str | None
    kept: list[str]
    removed: list[str]
    """Each in words: index, model, pipeline, parts."""
    applied: bool
    left: list[str] = field(default_factory=list)
    """What could not be removed, and why."""
    notes: list[str] = field(default_factory=list)
    """What stays for a while and does no harm."""

    def to_json(self) -> dict[str, Any]:
        return {
            "index": self.index, "in_use": self.in_use, "kept": self.kept, "removed": self.removed,
            "applied": self.applied, "left": self.left, "notes": self.notes,
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [
            f"{self.index} is served by {self.in_use or 'no index'}; kept besides: {', '.join(self.kept) or 'none'}"
        ]
        lines += [f"  - remove  {what}" if not self.applied else f"  - removed  {what}" for what in self.removed]
        lines += [f"  ! left  {what}" for what in self.left]
        lines += [f"  note: {note}" for note in self.notes]
        if not self.removed:
            lines.append("  nothing to remove")
        return "\n".join([*lines, *([] if self.applied else ["nothing was touched"])])


def undeploy(
    cluster: Cluster,
    index: str,
    *,
    keep: int = 1,
    everything: bool = False,
    orphans: bool = False,
    plan_only: bool = False,
) -> UndeployResult:
    """Remove the indices of ``index`` that do not serve, but for the ``keep`` youngest of them; never the one in use.

    An index on which another alias stands, or whose pipelines or models something else on the cluster names, is in use
    too: it is left with all that belongs to it, and ``left`` names the user.

    Args:
        keep: How many to keep for a rollback; the one before the one in use counts as the youngest. One that is younger
            than the one in use and did not serve before it is kept besides: it was staged; 0 removes that too.
        everything: End the name: remove the index in use as well, last, the indices of the BM25 baseline before it, and
            the index of bundle parts with the last of them.
        orphans: Also remove the pipelines, models and bundle parts that no index of the cluster names, of the bundles
            (by name) that ``index`` has served. A deploy that is under way on another machine looks like that too.
        plan_only: Say what would be removed and touch nothing.

    Raises:
        InputError: ``keep`` is negative, osparse made no index of that name, or none of them is in use and ``keep`` is
            0: that would remove all of them, which only ``everything`` does.
        ClusterError: the ``_meta`` of an index of the cluster cannot be read: what it uses cannot be known.
    """
    if keep < 0:
        raise InputError(f"`keep` must be at least 0, got {keep}")
    api = ClusterApi(cluster)
    generations, meta = read_generations(api, index), api.all_meta()
    if keep == 0 and not everything:
        _check_in_use(generations)
    deployments, baselines = deployments_of(meta), _baselines(meta, index) if everything else []
    leaving, kept = _chosen(generations, keep, everything)
    names_leaving = {generation.index for generation in leaving}
    staying = {name: deployment for name, deployment in deployments.items() if name not in names_leaving}
    work = Removal(api, look(api).missing_plugins == [], plan_only, read_uses(api), staying)
    if not generations.all and not baselines:
        return _end_again(work, index, everything)
    for name in baselines:
        work.baseline(name)
    hybrid = {("search", names.fusing_pipeline(index))} if everything else set()
    removed = [
        work.deployment(one.index, one.deployment, {index, index + SUFFIX}, hybrid if one is leaving[-1] else ())
        for one in leaving
    ]
    if orphans:
        served = {name for one in generations.all for name in _bundles(one.deployment)}
        remove_orphans(work, served, deployments.values())
    left = [one.deployment for one, gone in zip(leaving, removed, strict=True) if not gone]
    used = {name for deployment in (*left, *staying.values()) for name in _bundles(deployment)}
    of_leaving = {name for one in leaving for name in _bundles(one.deployment)}
    remove_empty_groups(work, None if everything or keep == 0 else of_leaving, used)
    if everything and all(removed) and not staying:
        work.bundles_index({view.fingerprint for one in leaving for view in one.deployment.bundles})
    ended = everything and not plan_only and removed[-1:] == [True]
    in_use = generations.current.index if generations.current and not ended else None
    return _result(work, index, in_use, [one.index for one in kept])


def _bundles(deployment: Deployment) -> list[str]:
    """Names of the bundles that encode its sparse fields."""
    return [view.bundle for view in deployment.bundles]


def _check_in_use(generations: Generations) -> None:
    """Raises :class:`InputError` where there are indices and the alias stands on none of them."""
    if generations.all and generations.current is None:
        indices = ", ".join(generation.index for generation in generations.all)
        raise InputError(
            f"the alias {generations.alias} stands on no index, so `keep=0` would remove every index of the name: "
            f"{indices}; pass `everything=True` to remove them, or put the alias back with osparse deploy"
        )


def _end_again(work: Removal, index: str, everything: bool) -> UndeployResult:
    """Of a name that an earlier run ended: what that run did not reach, or the server kept then.

    That is model groups and, where no deployment is left on the cluster, the index of bundle parts.

    Raises:
        InputError: there are none.
    """
    if everything:
        remove_empty_groups(work, None, {name for one in work.staying.values() for name in _bundles(one)})
    if everything and not work.staying:
        work.bundles_index(())
    if not work.removed and not work.notes:
        url = work.api.cluster.url
        raise InputError(f"{url} has no index of the name {index}; osparse status lists what it has")
    return _result(work, index, None, [])


def _result(work: Removal, index: str, in_use: str | None, kept: list[str]) -> UndeployResult:
    return UndeployResult(index, in_use, kept, work.removed, not work.plan_only, work.left, work.notes)


def _chosen(generations: Generations, keep: int, everything: bool) -> tuple[list[Generation], list[Generation]]:
    """Which are to be removed, the one in use last, and which are kept besides it."""
    if everything:
        return [*generations.others, *generations.waiting, *([generations.current] if generations.current else [])], []
    if keep == 0:
        return [*generations.others, *generations.waiting], []
    waiting = generations.waiting  # may be in the middle of a load
    return [*generations.others[keep:]], [*generations.others[:keep], *waiting]


def _baselines(meta: Mapping[str, Any], index: str) -> list[str]:
    """The indices that an evaluation made to compare ``index`` with BM25."""
    ours = (name for name, body in meta.items() if isinstance(body, Mapping) and BASELINE_META_KEY in body)
    return sorted(name for name in ours if name.startswith(names.baseline_of(index)))
