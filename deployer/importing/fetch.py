"""A model of a cluster and the query model that belongs to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from osparse.contracts.imported import PARTS, ImportedModel, ImportedPart
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.importing.query_model import query_model_of
from osparse.deployer.importing.stored_model import fetch_model, naming_the_permission
from osparse.deployer.mlcommons.api import MLCommons
from osparse.errors import InputError


def from_cluster(cluster: Cluster, model_id: str, query_model: str | None = None) -> Callable[[Path], ImportedModel]:
    """What reads the model into an empty folder, for :func:`osparse.packager.import_model`.

    Args:
        model_id: a SPARSE_ENCODING model, or a SPARSE_TOKENIZE model alone.
        query_model: id of the SPARSE_TOKENIZE model of its queries; None looks in the pipelines of the indices that
            use the encoder.

    Raises:
        InputError, CheckError, AccessError, ClusterError: see :func:`.stored_model.fetch_model`.
    """

    def fetch(folder: Path) -> ImportedModel:
        ml = MLCommons(cluster)
        first = fetch_model(ml, model_id, folder)
        parts, notes = {PARTS[first.function_name]: first}, []
        if "encoder" not in parts and query_model is not None:
            raise InputError(f"model {model_id} is itself a SPARSE_TOKENIZE model; leave out `query_model`")
        if "encoder" in parts:
            queries, note = _queries(ml, model_id, query_model, folder)
            parts |= {"tokenizer": queries} if queries is not None else {}
            notes += [note] if note else []
        return ImportedModel(folder, parts.get("encoder"), parts.get("tokenizer"), tuple(notes))

    return fetch


def _queries(ml: MLCommons, encoder_id: str, given: str | None, folder: Path) -> tuple[ImportedPart | None, str]:
    with naming_the_permission():
        found, note = (given, "") if given is not None else query_model_of(ml, encoder_id)
    if found is None:
        return None, note
    document = ml.model_document(found)
    if document is not None and document.get("algorithm") != "SPARSE_TOKENIZE":
        raise InputError(
            f"`query_model={found}` is a {document.get('algorithm')} model, required is a SPARSE_TOKENIZE model"
        )
    return fetch_model(ml, found, folder), note
