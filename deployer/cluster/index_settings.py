"""The settings of an index that name its pipelines, and where they differ from those of its deployment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from osparse.contracts.deployment import Deployment
from osparse.deployer.cluster.api import ClusterApi
from osparse.opensearch_templates import render


def pipeline_drift(api: ClusterApi, name: str, deployment: Deployment) -> list[str]:
    """Where an index's default pipelines are not its deployment's: documents or queries would go unencoded."""
    return settings_drift(api.get_index_settings(name), render("index_pipelines", **pipelines_of(deployment)))


def settings_drift(there: Mapping[str, str], wanted: Mapping[str, Any]) -> list[str]:
    """Where the flat settings of an index are not those wanted; an unset pipeline is ``_none``."""
    unset = {name: "_none" for name in wanted if name.endswith("_pipeline")}
    return [
        f"its {name} is {there.get(name, 'not set')}, not {value}"
        for name, value in wanted.items()
        if there.get(name, unset.get(name)) != str(value)
    ]


def pipelines_of(deployment: Deployment) -> dict[str, str]:
    """What the settings of its index must name; ``_none`` is no pipeline, whatever an index template says."""
    return {
        "ingest_pipeline": deployment.ingest_pipeline or "_none",
        "search_pipeline": deployment.search_pipeline or "_none",
    }
