"""Copy documents from one index of a name to the next: the same texts, encoded by the other bundle.

Every field is copied except those an encoder made. It is a load like any other: a document that the new index has with
the same content is skipped, so an interrupted copy continues when it is run again, and another pass costs little.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import Deployment, generated_fields
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.inherited_settings import check_source
from osparse.deployer.load.bulk import FailureLog
from osparse.deployer.load.documents import HASH_FIELD, DocumentRow
from osparse.deployer.load.encode_here import Where
from osparse.deployer.load.prepare import prepare_load, settle_encoding
from osparse.deployer.load.stream import LoadCounts
from osparse.deployer.load.vectors import GivenVectors
from osparse.errors import ClusterError, ClusterUnreachableError
from osparse.io.progress import progress
from osparse.rows.text_template import TEXT_FIELD, TextTemplate

log = logging.getLogger("osparse.deployer.index.copy")

PAGE = 256
"""Documents read together."""
RESTARTS = 5
"""How often a copy whose connection broke starts over; what it had copied is skipped."""


@dataclass(frozen=True)
class VectorOrigin:
    """Where the vectors of a copy come from."""

    encode: Where = "auto"
    bundle: Bundle | None = None
    """The new index's, whose encoder this machine can use."""
    given: GivenVectors | None = None
    """Vectors of texts that were encoded with that bundle before."""


class StoredRow(DocumentRow):
    """A document as an index has it; one that was written by hand may have no text."""

    @property
    def text(self) -> str:
        text = self.fields.get(TEXT_FIELD)
        return text if isinstance(text, str) else ""


def copy_documents(
    api: ClusterApi,
    source: str,
    made_by: Deployment,
    target: str,
    deployment: Deployment,
    total: int,
    origin: VectorOrigin | None = None,
) -> LoadCounts:
    """Bring every document of ``source`` into ``target``.

    Args:
        made_by: The deployment of ``source``: its encoder's fields are left behind.
        deployment: That of ``target``: who encodes, and how features are named.
        total: Documents of ``source``, for the progress bar.
        origin: Who encodes; None is "auto" without the bundle.

    Raises:
        CheckError: this machine was asked to encode, or vectors are given, and they differ from the cluster's.
        ClusterError: documents were refused; the first reasons are in the message, the copied ones stay. Or ``source``
            does not keep what it was given.
    """
    check_source(source, (api.get_mapping(source) or {}).get(source, {}), tuple(generated_fields(made_by)))
    with tempfile.TemporaryDirectory(prefix="osparse-") as folder:
        failed = FailureLog(Path(folder) / "failed.jsonl")
        try:
            copied = _until_done(api, source, made_by, target, deployment, total, failed, origin or VectorOrigin())
        finally:
            failed.close()
    api.refresh(target)
    if failed.count:
        shown = "\n".join(f"  {failure.id}: {failure.reason}" for failure in failed.first)
        raise ClusterError(
            f"{failed.count} documents of {source} were refused by {target}; the alias stays where it is. Remove the "
            f"cause and run osparse deploy again. The first reasons:\n{shown}"
        )
    return copied


def _until_done(
    api: ClusterApi,
    source: str,
    made_by: Deployment,
    target: str,
    deployment: Deployment,
    total: int,
    failed: FailureLog,
    origin: VectorOrigin,
) -> LoadCounts:
    for attempt in range(RESTARTS):
        try:
            stored = _stored(api, source, made_by, deployment)
            encoding, rows = settle_encoding(
                api, target, deployment, stored, total, origin.encode, origin.bundle, origin.given
            )
            load = prepare_load(api, target, deployment, total, encoding=encoding, given=origin.given)
            with progress(f"copy {source} to {target}", total, "documents") as bar:
                return load.run(rows, failed, bar)
        except ClusterUnreachableError as problem:
            if attempt == RESTARTS - 1:
                raise
            log.info("the copy continues: %s", problem)
    raise ValueError("RESTARTS must be at least 1")


def _stored(api: ClusterApi, source: str, made_by: Deployment, deployment: Deployment) -> Iterator[DocumentRow]:
    template = TextTemplate.parse(deployment.text_template) if deployment.text_template is not None else None
    for hits in api.pages(source, PAGE, {"excludes": [*generated_fields(made_by), HASH_FIELD]}):
        for hit in hits:
            yield StoredRow(hit["_id"], _with_text(hit["_id"], hit["_source"], template), complete=True)


def _with_text(name: str, source: dict[str, Any], template: TextTemplate | None) -> dict[str, Any]:
    """The fields with the text that the new index makes of them; raises :class:`ClusterError` where it cannot."""
    try:
        text = template.text_of(source) if template is not None else None
    except ValueError as problem:
        raise ClusterError(
            f"document {name} cannot be copied: {problem}; change it, or deploy another template"
        ) from None
    return source if text is None else {**source, TEXT_FIELD: text}
