"""The gate: what a new index must show before it takes over a name."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import Deployment, feature_name
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.load.bundle_store import fetch_part
from osparse.deployer.mlcommons.proof import TOLERANCE, check_weights
from osparse.encoders.onnx_encoder import open_query_encoder
from osparse.errors import CheckError
from osparse.rows.text_template import TEXT_FIELD

MARGIN = 0.005
"""nDCG@10 the new index may lose before the gate closes."""


@dataclass(frozen=True)
class Gate:
    """Judged queries that both indices are asked before the name moves."""

    measure: Callable[[str], float]
    """Index name -> nDCG@10 in [0, 1]."""
    dataset: str
    margin: float = MARGIN
    remark: Callable[[str, str], str] | None = None
    """(old index, new index), both measured -> what else is to be known of the figures; "" for nothing."""


@dataclass(frozen=True)
class GateChecks:
    """What is compared before ``alias`` moves from ``old`` to ``new``."""

    api: ClusterApi
    alias: str
    old: str
    new: str
    bundle: Bundle
    deployment: Deployment
    gate: Gate | None

    def planned(self, gate: Gate) -> str:
        """The comparison by judged queries, for a plan."""
        return f"nDCG@10 on {gate.dataset} not lower by more than {gate.margin:g}"

    def weights(self) -> str:
        probes = [probe for probe in self.bundle.probes() if probe.text.strip()]  # a blank text is not encoded
        served = self._encoded([probe.text for probe in probes])
        keys = self._keys({token for probe in probes for token in probe.document})
        for probe, weights in zip(probes, served, strict=True):
            if weights is not None:
                expected = {keys.get(token, token): weight for token, weight in probe.document.items()}
                check_weights(
                    f"what {self.new} makes of a text",
                    probe.text,
                    expected,
                    weights,
                    max(TOLERANCE, self.bundle.tolerance),
                    alike=bool(self.bundle.quantization),
                )
        seen = sum(weights is not None for weights in served)
        how = "through its pipeline" if self.deployment.mode != "client" else "by its stored encoder"
        return f"weights: {seen} probes as proved {how}" if seen else "weights: of the models alone, which were proved"

    def _keys(self, tokens: Collection[str]) -> dict[str, str]:
        """Token -> its key in what :meth:`_encoded` gives: an id where the encoder gives ids to whoever asks."""
        if self.deployment.encoder_part == "remote-ids":
            lexicon = open_query_encoder(self.bundle.zip_path("tokenizer")).lexicon
            return {token: str(i) for i, token in enumerate(lexicon.tokens)}
        return {token: feature_name(token, self.deployment.key_style) for token in tokens}

    def _encoded(self, texts: list[str]) -> list[dict[str, float] | None]:
        """The vectors that the new index stores for the texts; None where that cannot be simulated."""
        if self.deployment.mode == "client":
            from osparse.encoders.onnx_encoder import OnnxEncoder

            weights = OnnxEncoder.open(fetch_part(self.api, self.deployment, "onnx")).encode(texts)
            style = self.deployment.key_style
            return [{feature_name(token, style): w for token, w in vector.items()} for vector in weights]
        pipeline = self.deployment.ingest_pipeline
        if pipeline is None or self.deployment.chunks or self.deployment.prune is not None:
            return [None] * len(texts)  # the models themselves were proved already
        documents = [*self.api.simulate(pipeline, [{TEXT_FIELD: text} for text in texts])]
        for text, document in zip(texts, documents, strict=True):
            if "error" in document:
                raise CheckError(f"the pipeline {pipeline} fails on {text[:40]!r}: {document['error'].get('reason')}")
        return [dict(document["_source"].get(self.deployment.field) or {}) for document in documents]

    def documents(self) -> str:
        for index in (self.old, self.new):
            self.api.refresh(index)
        old, new = self.api.count(self.old), self.api.count(self.new)
        if new < old:
            raise CheckError(
                f"{self.new} holds {new:,} documents, {self.old} holds {old:,}; {self.alias} stays on the old "
                f"one. Load them (osparse index --index {self.new} DOCUMENTS, or deploy with `copy=True`), "
                "then deploy again"
            )
        return f"documents: {new:,} here, {old:,} in the old index"

    def quality(self, gate: Gate) -> str:
        before = gate.measure(self.old)
        self._check_can_fail(gate, before)
        self.api.refresh(self.new)  # or what was copied last is not found
        after = gate.measure(self.new)
        remark = gate.remark(self.old, self.new) if gate.remark is not None else ""
        compared = f"nDCG@10 on {gate.dataset}: {after:.4f}, {before:.4f} in the old index"
        compared += f" ({remark})" if remark else ""
        if not after >= before - gate.margin:
            raise CheckError(
                f"{compared}: lower by more than the margin {gate.margin:g}; {self.alias} stays on {self.old}. "
                f"Compare them with: osparse evaluate --index {self.new}; or allow a larger margin"
            )
        return compared

    def _check_can_fail(self, gate: Gate, before: float) -> None:
        """Raises :class:`CheckError` where no figure of the new index could be too low; a margin of 1 asks for that."""
        if not before > 0:
            raise CheckError(
                f"nDCG@10 on {gate.dataset} is {before:.4f} in {self.old}, so no loss could be seen; "
                f"{self.alias} stays on it. Do its queries belong to these documents? Look with: "
                f"osparse evaluate --index {self.old}; or deploy without a gate"
            )
        if before <= gate.margin < 1:
            raise CheckError(
                f"nDCG@10 on {gate.dataset} is {before:.4f} in {self.old}, not above the margin of "
                f"{gate.margin:g}, so no loss could be seen; {self.alias} stays on it. Give judgements that this index "
                "answers, or a smaller margin"
            )
