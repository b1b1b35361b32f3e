"""Who on a cluster uses a pipeline or a model: other pipelines in their bodies, indices in settings and fields."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from osparse.deployer.cluster.api import ClusterApi

PipelineKey = tuple[str, str]
"""(``ingest`` or ``search``, name): the two kinds have a name space each."""


@dataclass(frozen=True)
class Uses:
    """What every pipeline and every index of the cluster names, read once."""

    pipelines: Mapping[PipelineKey, str]
    """Their bodies as JSON text."""
    defaults: Mapping[str, Collection[str]]
    """Index -> the pipelines that its settings name."""
    mapped: Mapping[str, Collection[str]]
    """Index -> the models that its ``semantic`` fields name."""

    def of_model(self, model_id: str, index: str | None, pipelines: Collection[PipelineKey]) -> list[str]:
        """The indices and pipelines that name a model, in words; ``index`` and ``pipelines`` do not count."""
        users = [key for key in naming(self.pipelines, model_id) if key not in pipelines]
        indices = [name for name, named in self.mapped.items() if model_id in named and name != index]
        return [f"index {name}" for name in sorted(indices)] + [f"{kind} pipeline {name}" for kind, name in users]

    def of_pipeline(self, name: str, index: str | None, pipelines: Collection[PipelineKey]) -> list[str]:
        """The indices and pipelines that name a pipeline, in words; ``index`` and ``pipelines`` do not count."""
        indices = [other for other, named in self.defaults.items() if name in named and other != index]
        return [f"index {other}" for other in sorted(indices)] + [
            f"{kind} pipeline {other}"
            for (kind, other), body in self.pipelines.items()
            if (kind, other) not in pipelines and json.dumps(name) in body
        ]


def read_uses(api: ClusterApi) -> Uses:
    """Ask the cluster, in four calls."""
    return Uses(read_pipelines(api), api.default_pipelines(), api.mapped_models())


def read_pipelines(api: ClusterApi) -> dict[PipelineKey, str]:
    """Every pipeline of the cluster, its body as JSON text."""
    bodies = ("ingest", api.ingest_pipelines()), ("search", api.search_pipelines())
    return {(kind, name): json.dumps(body) for kind, found in bodies for name, body in sorted(found.items())}


def naming(pipelines: Mapping[PipelineKey, str], model_id: str) -> list[PipelineKey]:
    """The pipelines that name a model anywhere in their body."""
    return [key for key, body in pipelines.items() if model_id in body]
