"""Whether documents have the vector of their text: some of an index are looked at, those written last among them.

A document whose content is what osparse loaded (equal hash) has the vector that was made of it. Any other was written
by another program, which can change a text without its vector (an ``update`` action of ``_bulk`` runs no pipeline) or
leave the vector out: its text is encoded once more and compared. Nothing is encoded where nobody else writes.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from osparse.contracts.deployment import Deployment, feature_name, generated_fields, stored_vectors
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.encode.pieces import PieceCutter
from osparse.deployer.fields.sparse_fields import readable_text
from osparse.deployer.load.bundle_store import fetch_part
from osparse.deployer.load.documents import HASH_FIELD, DocumentRow
from osparse.deployer.load.read_deployment import query_encoder
from osparse.deployer.mlcommons.proof import largest_difference
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.encoders.similarity import unlike
from osparse.encoders.windows import windowed
from osparse.errors import ClusterError, OsparseError
from osparse.formula.activation import sparse_dict
from osparse.formula.pruning import prune_by
from osparse.opensearch_templates import render
from osparse.rows.text_template import TEXT_FIELD, TextTemplate

log = logging.getLogger("osparse.deployer.health.document_check")

LATEST = 100
"""Documents written last that are looked at."""
RANDOM = 100
"""Documents of the whole index that are looked at."""
ENCODED = 16
"""Texts that are encoded once more; of those without a vector, more where all of these have no weights."""
AT_ONCE = 4
"""Texts that are encoded at a time on this machine."""
LARGEST_DIFFERENCE = 0.1
"""Of a weight in two encodings of one text by one model, int8 on another processor included."""
SHOWN = 3

Vectors = list[dict[str, float]]


def document_problems(api: ClusterApi, index: str, deployment: Deployment) -> list[str]:
    """A sentence for documents without a vector, and one for vectors of another text; each says what to do."""
    mapping = (api.get_mapping(index) or {}).get(index, {}).get("mappings", {})
    if mapping.get("_source", {}).get("excludes") or mapping.get("_source", {}).get("enabled") is False:
        return []  # what is not kept cannot be looked at
    try:
        seen = _sample(api, index)
    except ClusterError as problem:
        return [f"its documents cannot be searched: {problem}"]
    again = _encode_again(index, deployment)
    return [f"{sentence}; {again}" for view in deployment.views for sentence in _problems(api, deployment, view, seen)]


def _problems(
    api: ClusterApi, deployment: Deployment, view: Deployment, seen: Mapping[str, dict[str, Any]]
) -> list[str]:
    """Of the vectors of one sparse field."""
    texts = {i: source for i, source in seen.items() if readable_text(view, source).strip()}
    field = f"{view.field}: " if deployment.fields else ""
    without = [i for i, source in texts.items() if not stored_vectors(source, view.field)]
    missing, encoded = _missing(api, view, {i: texts[i] for i in without})
    others = [i for i, source in texts.items() if i not in without and _written_by_others(source, deployment)]
    differing = _differing(api, view, {i: texts[i] for i in others[:ENCODED]})
    return [
        f"{field}{len(ids)} of the {len(seen)} documents looked at {what} ({_listed(ids)})"
        for ids, what in (
            (
                missing,
                f"have a text and no vector, so that no sparse query finds them; {encoded} texts were encoded",
            ),
            (differing, "have the vector of another text than their own"),
        )
        if ids
    ]


def _sample(api: ClusterApi, index: str) -> dict[str, dict[str, Any]]:
    """Document id -> ``_source`` of those written last and of some others; without the index's search pipeline."""
    bodies = (
        render("documents_latest", size=LATEST),
        render("documents_random", size=RANDOM, seed=random.randrange(2**31)),
    )
    answers = [api.search(index, body, {"search_pipeline": "_none"}, whole=True) for body in bodies]
    return {hit["_id"]: hit.get("_source", {}) for answer in answers for hit in answer["hits"]["hits"]}


def _written_by_others(source: Mapping[str, Any], deployment: Deployment) -> bool:
    own = {HASH_FIELD, *generated_fields(deployment)}
    content = {name: value for name, value in source.items() if name not in own}
    return not DocumentRow("", content).is_content_of(source.get(HASH_FIELD))


def _missing(api: ClusterApi, deployment: Deployment, sources: Mapping[str, dict[str, Any]]) -> tuple[list[str], int]:
    """Ids of the documents that have no vector although their encoder gives one: a text may have no weights at all.

    Texts are encoded, ``ENCODED`` at a time, until one has weights; those after it count as missing without a check.

    Returns:
        The ids, and how many texts were encoded.
    """
    if not sources or deployment.vector == "semantic":
        return [*sources], 0
    weightless = list[str]()
    encoded = 0
    try:
        vectors = _encoded(api, deployment, [*sources.values()])
        for i, made in zip(sources, vectors, strict=True):
            encoded += 1
            if made is not None and not any(made):
                weightless.append(i)
            if encoded % ENCODED == 0 and len(weightless) < encoded:
                break
    except OsparseError as problem:
        log.debug("documents without a vector cannot be encoded: %s", problem)
    return [i for i in sources if i not in weightless], encoded


def _differing(api: ClusterApi, deployment: Deployment, sources: Mapping[str, dict[str, Any]]) -> list[str]:
    """Ids of the documents whose vectors are not those that the encoder makes of their text now."""
    if not sources or deployment.vector == "semantic":
        return []  # a semantic field has no pipeline that could be asked
    try:
        made = [*_encoded(api, deployment, [*sources.values()])]
    except OsparseError as problem:
        log.debug("the vectors of %s cannot be compared: %s", deployment.bundle, problem)
        return []
    return [
        i
        for (i, source), vectors in zip(sources.items(), made, strict=True)
        if vectors is not None and not _same(stored_vectors(source, deployment.field), vectors)
    ]


def _same(stored: Vectors, made: Vectors) -> bool:
    stored, made = [vector for vector in stored if vector], [vector for vector in made if vector]
    if len(stored) != len(made):
        return False
    pairs = [({t: float(w) for t, w in one.items()}, other) for one, other in zip(stored, made, strict=True)]
    return all(largest_difference(*pair)[1] <= LARGEST_DIFFERENCE and unlike(*pair) is None for pair in pairs)


def _encoded(api: ClusterApi, deployment: Deployment, sources: Sequence[Mapping[str, Any]]) -> Iterator[Vectors | None]:
    """The vectors of each document's text as the index would store them, encoded as they are asked for.

    Yields None where the encoder does not answer.
    """
    if deployment.mode == "client":
        texts = [readable_text(deployment, source) for source in sources]
        archive = fetch_part(api, deployment, "onnx")
        encoder, cutter = OnnxEncoder.open(archive), PieceCutter(archive) if deployment.chunks else None
        for start in range(0, len(texts), AT_ONCE):
            some = texts[start : start + AT_ONCE]
            pieces = [[text] for text in some] if cutter is None else cutter.cut(some)
            made = iter(_encoded_here(encoder, deployment, [piece for of_text in pieces for piece in of_text]))
            style = deployment.key_style
            for of_text in pieces:
                yield [{feature_name(token, style): w for token, w in next(made).items()} for _ in of_text]
        return
    ids = _token_ids(api, deployment)
    for document in api.simulate(deployment.ingest_pipeline or "", [_input(deployment, one) for one in sources]):
        if "error" in document:
            yield None
            continue
        vectors = stored_vectors(document["_source"], deployment.field)
        yield [{ids.get(token, token): weight for token, weight in vector.items()} for vector in vectors]


def _input(view: Deployment, source: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a document that its text is made of."""
    if view.text_template is None:
        return {TEXT_FIELD: readable_text(view, source)}
    fields = TextTemplate.parse(view.text_template).fields
    names = {*fields, *(name.split(".")[0] for name in fields)}
    return {name: value for name, value in source.items() if name in names}


def _encoded_here(encoder: OnnxEncoder, deployment: Deployment, texts: Sequence[str]) -> list[dict[str, float]]:
    if deployment.window_weight is None:
        vectors = encoder.encode(texts)
    else:
        windows = windowed(encoder, texts, deployment.window_weight)
        vectors = [sparse_dict(weights, encoder.tokens) for weights in windows]
    return [_pruned(vector, deployment.prune) for vector in vectors]


def _pruned(vector: Mapping[str, float], rule: str | None) -> dict[str, float]:
    weights = prune_by(rule, np.fromiter(vector.values(), np.float32, len(vector)))
    return {token: weight for token, weight in zip(vector, weights.tolist(), strict=True) if weight}


def _token_ids(api: ClusterApi, deployment: Deployment) -> dict[str, str]:
    """Token -> its name in a ``sparse_vector`` field; a simulation names no index, so that it gives tokens."""
    if deployment.vector != "sparse_vector":
        return {}
    return {token: str(i) for i, token in enumerate(query_encoder(api.cluster, deployment).lexicon.tokens)}


def _encode_again(index: str, deployment: Deployment) -> str:
    if deployment.mode == "client":
        return (
            "osparse alone makes vectors in mode client: load their texts with osparse index --force "
            f"--index {index} DOCUMENTS"
        )
    return (
        "let the index's pipeline encode them: POST "
        f"{index}/_update_by_query?conflicts=proceed (an update action of _bulk does not: see docs/indexing.md)"
    )


def _listed(ids: Sequence[str]) -> str:
    return f"{', '.join(ids[:SHOWN])}{', ...' if len(ids) > SHOWN else ''}"
