"""Whether this machine encodes for an index that a cluster's pipeline encodes for, and the proof that both are equal.

The pipeline stays in place for other writers; what is encoded here is written past it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, get_args

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import Deployment
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.load.bulk import patiently
from osparse.deployer.load.bundle_store import fetch_part, stored_parts
from osparse.deployer.load.documents import DocumentRow, Row
from osparse.deployer.load.vectors import GivenVectors
from osparse.deployer.mlcommons.api import MLCommons
from osparse.deployer.mlcommons.proof import TOLERANCE, Predicting, check_weights
from osparse.deployer.mlcommons.remote_calls import RemoteCalls, TokenPredictions
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.errors import AccessError, CheckError, InputError
from osparse.rows.text_template import TEXT_FIELD

log = logging.getLogger("osparse.deployer.load.encode_here")

Where = Literal["auto", "here", "cluster"]
MANY = 10_000
"""Documents of a load from which encoding here is worth the start, whatever the index holds already."""
SAMPLE = 16
"""Documents of the load whose texts are encoded on both sides before it begins."""
_LOOKED_AT = 256
"""Rows among which the sample is looked for."""
_AT_ONCE = 8
"""Texts in one call of the model."""
ROUNDING = 2.0**-8
"""Largest share of a weight that the rounding of shards takes away."""

Archive = Callable[[], Path]


@dataclass(frozen=True)
class Encoding:
    """Who encodes the documents of a load into one index."""

    here: bool
    why: str
    archive: Archive | None = None
    """Gives the path of the encoder.onnx.zip; None where the cluster encodes."""

    def __str__(self) -> str:
        return f"{'here' if self.here else 'cluster'}: {self.why}"


def choose_encoding(
    api: ClusterApi, index: str, deployment: Deployment, total: int | None, asked: Where, bundle: Bundle | None
) -> Encoding:
    """Settle who encodes.

    "auto" encodes here where the bundle's encoder is at hand (``bundle``, or stored in the cluster), and the index is
    empty, or the load has at least :data:`MANY` rows or an unknown number. In mode client it is always this machine; in
    mode remote "auto" leaves it to the encoder beside the cluster, which was set up for that.

    Raises:
        InputError: ``asked`` cannot be had, or ``bundle`` is not the index's.
    """
    if asked not in get_args(Where):
        raise InputError(f"`encode` must be one of {', '.join(get_args(Where))}, got {asked!r}")
    if bundle is not None and bundle.fingerprint != deployment.fingerprint:
        raise InputError(
            f"{index} serves bundle {deployment.bundle} ({deployment.fingerprint[:12]}), and `bundle` is "
            f"{bundle.name} ({bundle.short}); give the bundle that was deployed"
        )
    archive = _archive(api, deployment, bundle)
    others = [view.field for view in deployment.bundles[1:]]
    if others and deployment.mode != "client":
        if asked == "here":
            raise InputError(
                f"{index} has sparse fields of another bundle ({', '.join(others)}), which its cluster encodes; leave "
                "`encode=here` out"
            )
        return Encoding(False, f"another bundle encodes {', '.join(others)}")
    if deployment.mode == "client":
        if asked == "cluster":
            raise InputError(f"{index} is in mode client: its cluster has no encoder; leave out `encode`")
        return Encoding(True, "mode client", archive)
    if deployment.mode == "remote" and asked == "auto":
        return Encoding(False, "mode remote")
    if asked == "here" and archive is None:
        raise InputError("`encode=here` needs the encoder; give `bundle`, one that has an onnx part")
    if asked != "auto" or archive is None:
        return Encoding(asked == "here", _REASONS[asked], archive if asked == "here" else None)
    if total is None or total >= MANY:
        return Encoding(True, f"the load has {'an unknown number of' if total is None else f'{total:,}'} rows", archive)
    if patiently(lambda: api.count(index)) == 0:
        return Encoding(True, "the index is empty", archive)
    return Encoding(False, f"the load is small (below {MANY:,} rows) and the index is not empty")


_REASONS = {
    "auto": "the encoder is not on this machine",
    "here": "as asked",
    "cluster": "as asked",
}


def _archive(api: ClusterApi, deployment: Deployment, bundle: Bundle | None) -> Archive | None:
    if bundle is not None:
        return (lambda: bundle.zip_path("onnx")) if "onnx" in bundle.files else None
    if deployment.mode != "client" and "onnx" not in _stored(api, deployment):
        return None
    return lambda: patiently(lambda: fetch_part(api, deployment, "onnx"))


def _stored(api: ClusterApi, deployment: Deployment) -> Collection[str]:
    """The bundle's parts in the cluster; a load that the cluster encodes needs no right to read them."""
    try:
        return patiently(lambda: stored_parts(api, deployment.fingerprint))
    except AccessError as problem:
        log.info("whether the encoder is stored in the cluster is not known: %s", problem)
        return ()


def sampled(rows: Iterable[Row]) -> tuple[list[DocumentRow], Iterator[Row]]:
    """Up to :data:`SAMPLE` documents with a text out of the first rows, and all rows."""
    waiting, sample, source = list[Row](), list[DocumentRow](), iter(rows)
    for row in source:
        waiting.append(row)
        if isinstance(row, DocumentRow) and row.text.strip():
            sample.append(row)
        if len(sample) == SAMPLE or len(waiting) == _LOOKED_AT:
            break
    return sample, chain(waiting, source)


def prove_equal(
    api: ClusterApi,
    index: str,
    deployment: Deployment,
    sample: Sequence[DocumentRow],
    *,
    archive: Path | None = None,
    given: GivenVectors | None = None,
    tokens: Sequence[str] = (),
    bundle: Bundle | None = None,
) -> int:
    """Compare what the cluster's encoder makes of texts with the vectors that are to be written; returns how many.

    Args:
        sample: Documents of the load; with an ``archive`` the texts of the probes of ``bundle`` come first.
        archive: An encoder.onnx.zip that encodes them here.
        given: Vectors that exist already, instead of ``archive``.
        tokens: The vocabulary, in the order of ids; for ``given``, and where a remote encoder answers with ids.

    Raises:
        CheckError: a weight differs by more than the bundle's tolerance; the message names the text and the token.
    """
    allowed = TOLERANCE if bundle is None else max(TOLERANCE, bundle.tolerance)
    alike = bundle is not None and bool(bundle.quantization)
    expected, rounding = list[tuple[str, dict[str, float]]](), 0.0
    if given is not None:
        rounding = ROUNDING
        for document, vector in zip(sample, given.of(sample), strict=True):
            if vector is not None:
                pairs = zip(vector.ids.tolist(), vector.weights.tolist(), strict=True)
                expected.append((document.text, {tokens[i]: weight for i, weight in pairs}))
    if archive is not None:
        texts = [probe.text for probe in bundle.probes() if probe.text.strip()] if bundle is not None else []
        texts += [document.text for document in sample]
        expected += zip(texts, OnnxEncoder.open(archive, threads=1).encode(texts), strict=True)
    model_id = _encoder_of(api, index, deployment)
    ml = _predicting(api, deployment, tokens)
    for start in range(0, len(expected), _AT_ONCE):
        some = expected[start : start + _AT_ONCE]
        served = patiently(functools.partial(ml.predict, model_id, [text for text, _ in some]))
        for (text, weights), answer in zip(some, served, strict=True):
            limit = allowed + rounding * max(answer.values(), default=0.0)
            check_weights(f"the encoder behind {index}", text, weights, answer, limit, alike=alike)
    log.info("%s: %d texts have the weights that the cluster gives them", index, len(expected))
    return len(expected)


def _predicting(api: ClusterApi, deployment: Deployment, tokens: Sequence[str]) -> Predicting:
    if deployment.mode != "remote":
        return MLCommons(api.cluster)
    return TokenPredictions(RemoteCalls(api.cluster), tokens if deployment.encoder_part == "remote-ids" else None)


def _encoder_of(api: ClusterApi, index: str, deployment: Deployment) -> str:
    """The id of the model that the index's pipeline, or its semantic field, names."""
    if deployment.vector == "semantic":
        mapping = (patiently(lambda: api.get_mapping(index)) or {}).get(index, {}).get("mappings", {})
        named = mapping.get("properties", {}).get(TEXT_FIELD, {}).get("model_id")
    else:
        pipeline = patiently(lambda: api.get_ingest_pipeline(deployment.ingest_pipeline or "")) or {}
        processors = [p["sparse_encoding"] for p in pipeline.get("processors", []) if "sparse_encoding" in p]
        named = processors[0].get("model_id") if processors else None
    if not isinstance(named, str):
        raise CheckError(f"{index} names no encoder; run osparse deploy again")
    return named
