"""Blue and green: a new index is filled beside the one in use, passes a gate, and takes over the name in one call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import Deployment, feature_name
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.index.copy import copy_documents
from osparse.deployer.index.generations import SUFFIX, Generation, alias_note, foreign_aliases
from osparse.deployer.load.bundle_store import fetch_part
from osparse.deployer.mlcommons.proof import TOLERANCE, check_weights
from osparse.deployer.plan import Finding, Made
from osparse.encoders.onnx_encoder import open_query_encoder
from osparse.errors import CheckError, ClusterError
from osparse.opensearch_templates import render
from osparse.rows.text_template import TEXT_FIELD

log = logging.getLogger("osparse.deployer.index.alias_switch")

PASSES = 3
"""Over the old index, at most: what was written to it during one pass is copied by the next."""
ROUNDS = 3
"""Further passes after the gate, at most, while the old index is still written to."""
MARGIN = 0.005
"""nDCG@10 the new index may lose before the gate closes."""


@dataclass(frozen=True)
class Gate:
    """Judged queries that both indices are asked before the name moves."""

    measure: Callable[[str], float]
    """Index name -> nDCG@10 in [0, 1]."""
    dataset: str
    margin: float = MARGIN


@dataclass(frozen=True)
class CopiedDocuments:
    """Step: the new index holds what the old one holds."""

    api: ClusterApi
    old: Generation
    new: str
    deployment: Deployment
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
        copied = copy_documents(self.api, self.old.index, self.old.deployment, self.new, self.deployment, total)
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

    def inspect(self, made: Made) -> Finding:
        checks = ["the served weights are the probes'", "no fewer documents"]
        if self.gate is not None:
            checks.append(f"nDCG@10 on {self.gate.dataset} not lower by more than {self.gate.margin:g}")
        what = f"alias {self.alias}: {self.old.index} -> {self.new}"
        why = [f"once the gate holds: {'; '.join(checks)}", *self._aliases()]
        return Finding("change", what, ". ".join(why))

    def apply(self, made: Made) -> Made:
        """Raises :class:`CheckError` and leaves the alias alone if the gate does not hold."""
        report = [self._weights(), self._documents()]
        if self.gate is not None:
            report.append(self._quality(self.gate))
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
            documents = self._documents()
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

    def _weights(self) -> str:
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

    def _documents(self) -> str:
        for index in (self.old.index, self.new):
            self.api.refresh(index)
        old, new = self.api.count(self.old.index), self.api.count(self.new)
        if new < old:
            raise CheckError(
                f"{self.new} holds {new:,} documents, {self.old.index} holds {old:,}; {self.alias} stays on the old "
                f"one. Load them (osparse index --index {self.new} DOCUMENTS, or deploy with `copy=True`), "
                "then deploy again"
            )
        return f"documents: {new:,} here, {old:,} in the old index"

    def _quality(self, gate: Gate) -> str:
        before = gate.measure(self.old.index)
        self._check_can_fail(gate, before)
        after = gate.measure(self.new)
        compared = f"nDCG@10 on {gate.dataset}: {after:.4f}, {before:.4f} in the old index"
        if not after >= before - gate.margin:
            raise CheckError(
                f"{compared}: lower by more than the margin {gate.margin:g}; {self.alias} stays on {self.old.index}. "
                f"Compare them with: osparse evaluate --index {self.new}; or allow a larger margin"
            )
        return compared

    def _check_can_fail(self, gate: Gate, before: float) -> None:
        """Raises :class:`CheckError` where no figure of the new index could be too low; a margin of 1 asks for that."""
        if not before > 0:
            raise CheckError(
                f"nDCG@10 on {gate.dataset} is {before:.4f} in {self.old.index}, so no loss could be seen; "
                f"{self.alias} stays on it. Do its queries belong to these documents? Look with: "
                f"osparse evaluate --index {self.old.index}; or deploy without a gate"
            )
        if before <= gate.margin < 1:
            raise CheckError(
                f"nDCG@10 on {gate.dataset} is {before:.4f} in {self.old.index}, not above the margin of "
                f"{gate.margin:g}, so no loss could be seen; {self.alias} stays on it. Give judgements that this index "
                "answers, or a smaller margin"
            )


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
