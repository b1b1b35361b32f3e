"""What a load into one index needs before it begins: who encodes, the proof of it, and how vectors are written."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import CHUNK_TEXTS_FIELD, Deployment
from osparse.deployer import names
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.encode.encoders import FeatureSource, open_source
from osparse.deployer.encode.pieces import PieceCutter
from osparse.deployer.fields.sparse_fields import field_text
from osparse.deployer.load.bulk import patiently
from osparse.deployer.load.bundle_store import fetch_part
from osparse.deployer.load.documents import DocumentRow, Row
from osparse.deployer.load.encode_here import Archive, Encoding, Where, choose_encoding, prove_equal, sampled
from osparse.deployer.load.read_deployment import query_encoder
from osparse.deployer.load.stream import Load
from osparse.deployer.load.vectors import GivenVectors, Members, PieceVectors, VectorField, Vectors, VectorSource
from osparse.errors import CheckError, ClusterError, InputError, OsparseError
from osparse.formula.query_encoder import QueryEncoder
from osparse.rows.text_template import TEXT_FIELD
from osparse.runtime.processors import cores

log = logging.getLogger("osparse.deployer.load.prepare")

BATCH = 256
"""Documents sent together where osparse encodes."""
ENCODING_BATCH = 16
"""Where the cluster's own model encodes: queries by text wait for the model meanwhile. Measured, batches of 16 load as
fast as of 256 (105 and 106 documents a second), and the slowest query took 252 ms instead of up to 10 s."""


def settle_encoding(
    api: ClusterApi,
    index: str,
    deployment: Deployment,
    rows: Iterable[Row],
    total: int | None,
    asked: Where,
    bundle: Bundle | None,
    given: GivenVectors | None,
) -> tuple[Encoding, Iterable[Row]]:
    """Who encodes, once it is proved that this machine's vectors are the cluster's; and all the rows.

    Raises:
        InputError: what is asked for cannot be had.
        CheckError: this machine was asked for, or the vectors are given, and they differ from the cluster's.
    """
    if deployment.chunks and given is not None:
        raise InputError(
            f"{index} keeps a vector for each piece of a text, and shards hold one for each text; load it without "
            "`encoded`"
        )
    if deployment.fields and given is not None:
        raise InputError(
            f"{index} keeps a vector for each of its {len(deployment.views)} sparse fields, and shards hold one for "
            "each document; load it without `encoded`"
        )
    encoding = choose_encoding(api, index, deployment, total, asked, bundle)
    if deployment.mode == "client" or not (encoding.here or given is not None):
        return encoding, rows
    sample, rows = sampled(rows)
    by_ids = given is not None or deployment.encoder_part == "remote-ids"
    tokens = _tokenizer(api, deployment)().lexicon.tokens if by_ids else ()
    try:
        archive = encoding.archive() if encoding.here and encoding.archive is not None else None
        prove_equal(api, index, deployment, sample, archive=archive, given=given, tokens=tokens, bundle=bundle)
    except CheckError as problem:
        if given is not None or asked == "here":
            raise
        log.warning("the cluster encodes, because this machine's weights differ from its own: %s", problem)
        return Encoding(False, "this machine's weights differ"), rows
    return encoding, rows


def prepare_load(
    api: ClusterApi,
    index: str,
    deployment: Deployment,
    total: int | None,
    *,
    batch: int | None = None,
    workers: int | None = None,
    encoding: Encoding,
    given: GivenVectors | None = None,
) -> Load:
    """A load into one concrete index, with the encoder that its deployment names and nobody else's.

    Args:
        encoding: Who encodes the texts that have no vector yet.
        given: Vectors that exist already, of the deployment's bundle.

    Raises:
        InputError: vectors are given, or to be made here, for an index that keeps a vector for each piece of a text.
    """

    uuid = patiently(lambda: api.index_uuid(index))
    vectors = _vectors(api, index, deployment, total, workers, encoding, given)
    if encoding.here and encoding.archive is not None:
        return Load(api, index, deployment, vectors, batch=batch or BATCH, senders=(workers or cores()) + 1, uuid=uuid)
    # the cluster encodes, at least what has no vector; a remote encoder is no queries' model
    size = ENCODING_BATCH if vectors is None and deployment.mode == "ml-commons" else BATCH
    counting = None if deployment.chunks else _tokenizer_if_readable(_tokenizer(api, deployment))
    return Load(api, index, deployment, vectors, counting, batch or size, uuid=uuid)


def _vectors(
    api: ClusterApi,
    index: str,
    deployment: Deployment,
    total: int | None,
    workers: int | None,
    encoding: Encoding,
    given: GivenVectors | None,
) -> Vectors | None:
    archive = encoding.archive if encoding.here else None
    if archive is None and given is None:
        return None
    field = vector_field(api, index, deployment)

    def source(path: Callable[[], Path]) -> FeatureSource:
        return open_source(path(), field.form, workers, total, deployment.prune, deployment.window_weight)

    encoder = None if archive is None else functools.partial(source, archive)
    if deployment.fields and archive is not None:
        return _vectors_of_fields(api, deployment, source, archive)
    if deployment.chunks and archive is not None and encoder is not None:
        client = deployment.mode == "client"
        cut = PieceCutter(archive()).cut if client else piece_cutter(api, index, deployment)
        return PieceVectors(field, encoder, cut)
    tokenizer = _tokenizer(api, deployment)
    return VectorSource(field, encoder, given, lambda: tokenizer().lexicon.tokens)


def _vectors_of_fields(
    api: ClusterApi, deployment: Deployment, source: Callable[[Callable[[], Path]], FeatureSource], own: Archive
) -> FieldVectors:
    """Those of every sparse field, one encoder for all fields of a bundle."""
    encoders: dict[str, Callable[[], FeatureSource]] = {}
    for view in deployment.bundles:
        archive = own if view.fingerprint == deployment.fingerprint else functools.partial(_fetched, api, view)
        encoders[view.fingerprint] = _once(functools.partial(source, archive))
    sources = [VectorSource(VectorField(view), encoders[view.fingerprint]) for view in deployment.views]
    return FieldVectors([*zip(deployment.views, sources, strict=True)])


def _fetched(api: ClusterApi, view: Deployment) -> Path:
    return patiently(lambda: fetch_part(api, view, "onnx"))


def _once(make: Callable[[], FeatureSource]) -> Callable[[], FeatureSource]:
    """Gives what the first call made; called by several threads."""
    lock, made = threading.Lock(), list[FeatureSource]()

    def get() -> FeatureSource:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return get


@dataclass
class FieldVectors:
    """The vectors of a document's sparse fields, each of its own text."""

    parts: Sequence[tuple[Deployment, Vectors]]
    """The view of each field, and where its vectors come from."""

    def members(self, documents: Sequence[DocumentRow]) -> Members:
        """As :meth:`VectorSource.members`, of documents that may have no text in some or all fields."""
        by_id: dict[str, list[bytes]] = {}
        encoded = cut = 0
        for view, vectors in self.parts:
            texts = ((document, field_text(view, document.fields)) for document in documents)
            made = vectors.members([_with_text(document, text) for document, text in texts if text.strip()])
            for i, member in made.by_id.items():
                by_id.setdefault(i, []).append(member)
            encoded, cut = encoded + made.encoded, cut + made.cut
        joined = {i: b",".join(members) for i, members in by_id.items()}
        return Members(joined, {document.id for document in documents}, encoded, cut)

    def close(self) -> None:
        for _, vectors in self.parts:
            vectors.close()


def _with_text(document: DocumentRow, text: str) -> DocumentRow:
    """The document as the encoder of one field takes it."""
    return replace(document, fields={**document.fields, TEXT_FIELD: text})


def piece_cutter(api: ClusterApi, index: str, deployment: Deployment) -> Callable[[Sequence[str]], list[list[str]]]:
    """Cuts texts by the index's own processor, which the cluster runs without its model.

    Raises:
        ClusterError: the index's pipeline does not cut texts.
    """
    pipeline = patiently(lambda: api.get_ingest_pipeline(deployment.ingest_pipeline or "")) or {}
    processors = [one for one in pipeline.get("processors", []) if "text_chunking" in one]
    if not processors:
        raise ClusterError(f"the ingest pipeline of {index} does not cut texts into pieces; run osparse deploy again")

    def cut(texts: Sequence[str]) -> list[list[str]]:
        documents = [{TEXT_FIELD: text} for text in texts]
        answers = patiently(lambda: api.simulate_processors(index, processors, documents))
        sources = [{} if "error" in answer else answer["_source"] for answer in answers]
        return [list(source.get(CHUNK_TEXTS_FIELD, ())) for source in sources]

    return cut


def _tokenizer_if_readable(tokenizer: Callable[[], QueryEncoder]) -> Callable[[], QueryEncoder | None]:
    """For counting alone, which is no reason to end a load."""

    def readable() -> QueryEncoder | None:
        try:
            return tokenizer()
        except OsparseError as problem:
            log.info("texts that are cut are not counted: %s", problem)
            return None

    return functools.cache(readable)


def _tokenizer(api: ClusterApi, deployment: Deployment) -> Callable[[], QueryEncoder]:
    """Opens the deployment's tokenizer at the first call."""
    lock, opened = threading.Lock(), list[QueryEncoder]()

    def tokenizer() -> QueryEncoder:
        with lock:
            if not opened:
                opened.append(patiently(lambda: query_encoder(api.cluster, deployment)))
            return opened[0]

    return tokenizer


def vector_field(api: ClusterApi, index: str, deployment: Deployment) -> VectorField:
    """How the index writes vectors; a semantic field keeps the name of its model beside them."""
    if deployment.vector != "semantic":
        return VectorField(deployment)
    mapping = (patiently(lambda: api.get_mapping(index)) or {}).get(index, {}).get("mappings", {})
    model_id = mapping.get("properties", {}).get(TEXT_FIELD, {}).get("model_id")
    name = names.model_of(names.BundleNames(deployment.bundle, deployment.fingerprint[:12]), "encoder")
    return VectorField(deployment, {"name": name, "id": str(model_id), "type": "SPARSE_ENCODING"})
