"""The cluster setting for the threads that build a sparse_vector field: one unless it is set, whatever the node has."""

from __future__ import annotations

from dataclasses import dataclass

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.plan import Finding, Made
from osparse.opensearch_templates import render

THREADS = "plugins.neural_search.sparse.algo_param.index_thread_qty"


@dataclass(frozen=True)
class SeismicThreads:
    """Step: half of the processors of the smallest node may build clusters; the other half goes on searching."""

    api: ClusterApi
    allow: bool
    """Without it the setting is left, and the plan says what it could be."""
    takes = ()

    def inspect(self, made: Made) -> Finding:
        now, goal = int(self.api.settings().get(THREADS, "1")), self._goal()
        what = f"cluster setting {THREADS}={max(now, goal)}"
        if now >= goal:
            return Finding("keep", what, "so many threads build a sparse_vector field")
        reason = f"{now} of them now; half of the processors of the smallest node is {goal}"
        if self.allow:
            return Finding("change", what, reason)
        return Finding("keep", f"cluster setting {THREADS}={now}", f"{reason}; `allow_settings=True` sets that")

    def apply(self, made: Made) -> Made:
        self.api.put_settings(render("cluster_settings_ml", settings={THREADS: self._goal()}))
        return Made()

    def _goal(self) -> int:
        processors = self.api.node_processors()
        return max(1, min(processors, default=1) // 2)
