"""The pipelines of a deployment, made again from what the index's ``_meta`` says: no bundle is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from osparse.contracts.deployment import Deployment, Hybrid
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.index.kept_options import serving_of
from osparse.deployer.index.pipeline_steps import FusingPipeline, IngestPipeline, SearchPipeline

PipelineStep = IngestPipeline | SearchPipeline | FusingPipeline


@dataclass(frozen=True)
class _Named:
    """What a deployment says of its bundle."""

    name: str
    short: str


@dataclass
class _Model:
    id: str | None


def pipeline_steps(
    api: ClusterApi, alias: str, deployment: Deployment, models: Sequence[str | None], hybrid: Hybrid | None = None
) -> list[PipelineStep]:
    """The steps that make the pipelines of an index: its own, and that of hybrid queries under its alias.

    Args:
        models: Ids of the encoder and the tokenizer; they have no meaning in client mode.
        hybrid: Instead of the deployment's own.
    """
    bundle = _Named(deployment.bundle, deployment.fingerprint[:12])
    serving = replace(serving_of(deployment), hybrid=hybrid or deployment.hybrid)
    steps: list[PipelineStep] = []
    plain = None
    if deployment.mode == "ml-commons":
        encoder, tokenizer = map(_Model, models)
        plain = SearchPipeline(api, bundle, tokenizer, serving)
        words = deployment.piece_words
        ingest = [IngestPipeline(api, bundle, encoder, serving, words)] if deployment.ingest_pipeline else []
        steps += [*ingest, plain]
    fusing = FusingPipeline(api, alias, bundle, serving, plain)
    return [*steps, *([fusing] if serving.hybrid != "none" else [])]
