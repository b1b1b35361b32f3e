"""The pipelines of a deployment, made again from what the index's ``_meta`` says: no bundle is needed."""

from __future__ import annotations

from dataclasses import replace

from osparse.contracts.deployment import Deployment, Hybrid
from osparse.deployer import names
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.index.kept_options import serving_of
from osparse.deployer.index.pipeline_steps import FusingPipeline, IngestPipeline, SearchPipeline

PipelineStep = IngestPipeline | SearchPipeline | FusingPipeline


def pipeline_steps(
    api: ClusterApi, alias: str, deployment: Deployment, hybrid: Hybrid | None = None
) -> list[PipelineStep]:
    """The steps that make the pipelines of an index: its own, and that of hybrid queries under its alias.

    Args:
        hybrid: Instead of the deployment's own.
    """
    bundle = names.BundleNames(deployment.bundle, deployment.fingerprint[:12])
    serving = replace(serving_of(deployment), hybrid=hybrid or deployment.hybrid)
    steps: list[PipelineStep] = []
    plain = None
    if deployment.mode != "client":
        plain = SearchPipeline(api, bundle, serving)
        words = deployment.piece_words
        step = IngestPipeline(api, bundle, serving, words, deployment.encoder_part)
        ingest = [step] if deployment.ingest_pipeline else []
        steps += [*ingest, plain]
    fusing = FusingPipeline(api, alias, bundle, serving, plain)
    return [*steps, *([fusing] if serving.hybrid != "none" else [])]
