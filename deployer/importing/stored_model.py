"""A model that a cluster stores, read back chunk by chunk.

ML Commons keeps a model as one document, and its zip in further ones: ``{model id}_{number}``, from 0, each up to
10,000,000 bytes as base64 in ``model_content``. ``GET /_plugins/_ml/models/{id}_{number}?return_content=true`` answers
such a document to whoever may read models, so the model index itself, which the security plugin protects, is never
asked. Measured on OpenSearch 3.4.0 with models sent in chunks and models fetched by URL.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from osparse.contracts.imported import PARTS, ImportedPart
from osparse.deployer.mlcommons.api import MLCommons
from osparse.errors import AccessError, CheckError, ClusterError, InputError
from osparse.io.progress import progress

PERMISSIONS = (
    "reading a model back needs cluster:admin/opensearch/ml/models/get and cluster:admin/opensearch/ml/models/search, "
    "which the role ml_read_access has, and access to the model's group"
)
LISTED = 5
"""Models that an error names."""


def fetch_model(ml: MLCommons, model_id: str, folder: Path) -> ImportedPart:
    """Write the model's zip into ``folder`` and return what it is.

    Raises:
        InputError: there is no such model, or it is not a sparse model whose content the cluster has.
        CheckError: chunks are missing, or their content is not what was registered.
        AccessError: the credentials may not read it; the message names the permission.
        ClusterError: see :meth:`osparse.deployer.Cluster.request`.
    """
    with naming_the_permission():
        document = ml.model_document(model_id)
        if document is None:
            raise InputError(f"{ml.cluster.url} has no model {model_id!r}{_others(ml)}")
        part = _require_sparse(document, model_id)
        _require_whole(ml, document, model_id)
        path = folder / f"{part}.zip"
        size, sha256 = _write(ml, document, model_id, path)
    _require_content(document, model_id, size, sha256)
    return ImportedPart(
        path.name, sha256, size, document["algorithm"], document["model_format"],
        origin={
            "cluster": ml.cluster.url, "model_id": model_id, "name": document.get("name"),
            "version": document.get("model_version"), "state": document.get("model_state"),
        },
        config={key: document[key] for key in ("model_config", "description") if key in document},
    )  # fmt: skip


@contextmanager
def naming_the_permission() -> Iterator[None]:
    """Adds to a refusal which permission is needed."""
    try:
        yield
    except AccessError as refused:
        raise AccessError(f"{refused}; {PERMISSIONS}") from None


def _others(ml: MLCommons) -> str:
    """The cluster's models that could be imported, in words."""
    models = [model for model in ml.all_models() if model.algorithm in PARTS]
    named = ", ".join(f"{model.id} ({model.name})" for model in models[:LISTED])
    more = f" and {len(models) - LISTED} more" if len(models) > LISTED else ""
    return f"; its sparse models are {named}{more}" if models else "; it has no sparse model"


def _require_sparse(document: dict[str, Any], model_id: str) -> str:
    """``encoder`` or ``tokenizer``."""
    algorithm, name = document.get("algorithm"), document.get("name")
    if algorithm == "REMOTE":
        connector = document.get("connector_id") or "one of its own"
        raise InputError(
            f"model {model_id} ({name}) is remote: the cluster has its connector ({connector}) and no content; import "
            "the model from where the connector's service has it"
        )
    if algorithm not in PARTS:
        raise InputError(
            f"model {model_id} ({name}) is a {algorithm} model, and osparse imports {' and '.join(PARTS)} models"
        )
    return PARTS[str(algorithm)]


def _require_whole(ml: MLCommons, document: dict[str, Any], model_id: str) -> None:
    """Raises :class:`CheckError` naming the chunks that the cluster lacks."""
    chunks = document.get("total_chunks")
    if not isinstance(chunks, int) or chunks < 1:
        raise CheckError(
            f"model {model_id} ({document.get('name')}) is {document.get('model_state')} and does not say how many "
            "chunks it has; wait until it is REGISTERED, or register it again"
        )
    missing = sorted(set(range(chunks)) - ml.stored_chunks(model_id, chunks))
    if missing:
        listed = ", ".join(map(str, missing[:LISTED])) + ("" if len(missing) <= LISTED else ", ...")
        raise CheckError(
            f"model {model_id} ({document.get('name')}, {document.get('model_state')}) lacks {len(missing)} of its "
            f"{chunks} chunks (number {listed}); send them, or register the model again"
        )


def _write(ml: MLCommons, document: dict[str, Any], model_id: str, path: Path) -> tuple[int, str]:
    """The chunks one after the other; returns their size in bytes and sha256."""
    digest, size, chunks = hashlib.sha256(), 0, int(document["total_chunks"])
    with path.open("wb") as file, progress(f"read {document.get('name')}", chunks, "chunks") as bar:
        for number in range(chunks):
            data = _decoded(ml.chunk_content(model_id, number), f"{model_id}_{number}")
            file.write(data)
            digest.update(data)
            size += len(data)
            bar.advance()
    return size, digest.hexdigest()


def _decoded(content: str | None, chunk: str) -> bytes:
    if content is None:
        raise CheckError(f"chunk {chunk} vanished while the model was read; import it again")
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise ClusterError(f"chunk {chunk} is not base64 ({problem}); register the model again") from None


def _require_content(document: dict[str, Any], model_id: str, size: int, sha256: str) -> None:
    """What was read is what was registered; raises :class:`CheckError` otherwise."""
    expected = document.get("model_content_hash_value")
    if sha256 != expected:
        raise CheckError(
            f"model {model_id} ({document.get('name')}): the sha256 of its chunks is {sha256[:12]}.., it was "
            f"registered with {str(expected)[:12]}..; the server refuses to deploy it, so register it again"
        )
    stated = document.get("model_content_size_in_bytes")
    if stated is not None and int(stated) != size:
        raise CheckError(
            f"model {model_id} ({document.get('name')}) has {size:,} bytes, it was registered with {int(stated):,}; "
            "register it again"
        )
