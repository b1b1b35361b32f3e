"""The processors of an ingest pipeline that encodes several sparse fields.

Each field's text stands in a field of its own while it is encoded. The fields of a bundle are encoded by one processor.
Before the processor of another bundle, the names in the vectors that are there already are hidden: neural-search takes
a document apart at the dots of its names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from osparse.contracts.sparse_field import SparseField
from osparse.deployer.fields.sparse_fields import COMPOSED
from osparse.deployer.fields.text_rule import compose_processors
from osparse.opensearch_templates import render
from osparse.rows.text_template import TEXT_FIELD


def encode_fields(
    first: str,
    fields: Sequence[SparseField],
    encoders: Mapping[str | None, str],
    choices: Mapping[str, Any],
    *,
    bundle: str,
    guarded: bool,
) -> list[dict[str, Any]]:
    """The processors, for documents that have their text already.

    Args:
        first: Path of the index's first sparse field, which is made of the text.
        fields: The further ones.
        encoders: 12 digits of a bundle's fingerprint, None for the index's own -> id of its encoder.
        choices: Further parameters of each encoding processor.
        bundle: Name of the index's own bundle.
        guarded: Keep ML Commons from expanding ``${parameters.NAME}`` in the texts, as a remote encoder needs.
    """
    by_bundle: dict[str | None, list[str]] = {None: [first]}
    for field in fields:
        by_bundle.setdefault(field.bundle.short if field.bundle else None, []).append(field.path)
    paths = [first, *(field.path for field in fields)]
    texts = [COMPOSED + path for path in paths]
    processors = [*_texts(first, fields), *_removed(paths), *(_guards(texts) if guarded else [])]
    done: list[str] = []
    for short, own in by_bundle.items():
        hide, show = render("ingest_hidden_names", fields=list(done))["processors"]
        field_map = {COMPOSED + path: path for path in own}
        values = {"bundle": bundle, "encoder_id": encoders[short], "fields": ", ".join(own), "field_map": field_map}
        (encoding,) = render("ingest_encode_fields", **values)["processors"]
        encoding["sparse_encoding"].update(choices)
        processors += [hide, encoding, show] if done else [encoding]
        done += own
    empty = [processor for path in paths for processor in render("ingest_finish_fields", field=path)["processors"]]
    return [*processors, *empty, *_removed(texts)]


def _texts(first: str, fields: Sequence[SparseField]) -> list[dict[str, Any]]:
    composed = {COMPOSED + field.path: field.template for field in fields if field.template is not None}
    copies = [COMPOSED + path for path in (first, *(field.path for field in fields if field.template is None))]
    values = {"text_field": TEXT_FIELD, "copies": copies, "composed": [*composed]}
    made = [step for target, template in composed.items() for step in compose_processors(template, target)]
    return [*made, *render("ingest_field_texts", **values)["processors"]]


def _guards(texts: Sequence[str]) -> list[dict[str, Any]]:
    return [render("ingest_guarded_text", text_field=text, fields=[text])["processors"][0] for text in texts]


def _removed(fields: Sequence[str]) -> list[dict[str, Any]]:
    return list(render("ingest_remove_fields", fields=list(fields))["processors"])
