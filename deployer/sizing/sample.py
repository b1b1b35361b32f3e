"""Some of the documents that an index is to hold, or holds: their texts, and what they take beside their vectors."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from osparse.contracts.deployment import META_KEY, Deployment, generated_fields, stored_vectors
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.fields.sparse_fields import text_by
from osparse.deployer.load.documents import HASH_FIELD, DocumentRow, Row, count_documents, read_documents
from osparse.errors import InputError
from osparse.io.locations import expanded
from osparse.opensearch_templates import render
from osparse.rows.row_rules import RowRules
from osparse.rows.text_template import TEXT_FIELD, TextTemplate

READ = 20_000
"""Rows of the documents' files among which the sample is drawn."""
SAMPLE = 300
"""Documents of the sample."""


@dataclass(frozen=True)
class DocumentSample:
    """Documents drawn at random, always the same ones of the same input."""

    source: str
    """Where they are from, for people."""
    total: int | None
    """Documents that there are; None where that cannot be told without reading all of them."""
    texts: tuple[str, ...]
    json_bytes: float
    """Bytes of a document's JSON without its vector, on average."""
    stored_bytes: float | None = None
    """Bytes on disk of a document in the index, its vector included; None where there is no index to measure."""
    nonzeros: tuple[int, ...] = ()
    """Of the vector that each document has in the index."""
    seismic: bool = False
    """Whether the index has them in a ``sparse_vector`` field."""


def sample_of_files(paths: Sequence[Path | str], rules: RowRules) -> DocumentSample:
    """Draw from the first :data:`READ` rows.

    Raises:
        InputError: no row is a document, or as :func:`read_documents`.
    """
    found = expanded(paths)
    rows = [*islice(read_documents(found, rules), READ + 1)]
    drawn = _drawn([row for row in rows[:READ] if isinstance(row, DocumentRow)])
    if not drawn:
        raise InputError(_no_document(rows))
    total = len(rows) if len(rows) <= READ else count_documents(found)
    read = f"{len(rows):,} rows" if len(rows) <= READ else f"the first {READ:,} rows"
    sizes = [_json_bytes(row.fields) for row in drawn]
    return DocumentSample(
        f"{read} of {', '.join(map(str, paths))}", total, tuple(row.text for row in drawn), sum(sizes) / len(sizes)
    )


def sample_of_index(
    api: ClusterApi, index: str, template: TextTemplate | None
) -> tuple[DocumentSample, Deployment | None]:
    """Draw from an index; also what its ``_meta`` says, None where osparse did not make it.

    Args:
        index: An index, or an alias of one.
        template: How the text is made of other fields; None: that of the index, or its field ``text``.

    Raises:
        InputError: there is no such index, it is empty, or its documents have no text.
    """
    concrete, deployment = _one_index(api, index)
    documents = api.count(concrete)
    body = render("documents_random", size=SAMPLE, seed=0)
    hits = api.search(concrete, body, {"search_pipeline": "_none"}, whole=True)["hits"]["hits"]
    if not hits:
        raise InputError(f"{index} holds no document, so nothing can be measured; give documents instead")
    own = {HASH_FIELD, *(generated_fields(deployment) if deployment is not None else ())}
    sources = [{name: value for name, value in hit["_source"].items() if name not in own} for hit in hits]
    texts = [text for source in sources if (text := _text(source, _template(deployment, template)))]
    if not texts:
        raise InputError(
            f"no document of {index} has the text field {TEXT_FIELD}; say what its text is with `text_field` or "
            "`template`"
        )
    counts = () if deployment is None else tuple(_nonzeros(hit["_source"], deployment.field) for hit in hits)
    per_document = api.store_size(concrete) / documents
    sample = DocumentSample(
        f"{documents:,} documents of {concrete}",
        documents,
        tuple(texts),
        sum(map(_json_bytes, sources)) / len(sources),
        per_document,
        counts,
        deployment is not None and deployment.vector == "sparse_vector",
    )
    return sample, deployment


def _one_index(api: ClusterApi, index: str) -> tuple[str, Deployment | None]:
    mappings = api.get_mapping(index) or {}
    if len(mappings) != 1:
        there = f"stands for {len(mappings)} indices" if mappings else "is no index"
        raise InputError(f"{index} {there} on {api.cluster.url}; name one that is there")
    ((concrete, body),) = mappings.items()
    meta = body.get("mappings", {}).get("_meta", {})
    return concrete, Deployment.from_meta(meta, concrete) if META_KEY in meta else None


def _template(deployment: Deployment | None, given: TextTemplate | None) -> TextTemplate | None:
    if given is not None or deployment is None or deployment.text_template is None:
        return given
    return TextTemplate.parse(deployment.text_template)


def _text(source: dict[str, object], template: TextTemplate | None) -> str:
    try:
        return text_by(template, source).strip()
    except ValueError:
        return ""


def _nonzeros(source: dict[str, object], field: str) -> int:
    return sum(map(len, stored_vectors(source, field)))


def _drawn(documents: Sequence[DocumentRow]) -> list[DocumentRow]:
    texts = [row for row in documents if row.text.strip()]
    return texts if len(texts) <= SAMPLE else random.Random(0).sample(texts, SAMPLE)


def _no_document(rows: Iterable[Row]) -> str:
    reason = next((row.reason for row in rows if not isinstance(row, DocumentRow) and hasattr(row, "reason")), "")
    return f"no row is a document with an id and a text{f' ({reason})' if reason else ''}; see `id_field`, `text_field`"


def _json_bytes(fields: object) -> int:
    return len(json.dumps(fields, ensure_ascii=False, separators=(",", ":"), default=str).encode("utf-8", "replace"))
