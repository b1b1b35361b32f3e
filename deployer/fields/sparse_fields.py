"""The further sparse fields that a deploy asks for: ``NAME=SOURCE[^BOOST][@BUNDLE]``, and what each is encoded from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import (
    BASELINE_META_KEY,
    CHUNK_TEXTS_FIELD,
    CHUNKS_FIELD,
    FIELD,
    META_KEY,
    Deployment,
)
from osparse.contracts.sparse_field import FieldBundle, SparseField
from osparse.errors import InputError
from osparse.rows.text_template import TEXT_FIELD, TextTemplate

FORM = "NAME=SOURCE[^BOOST][@BUNDLE]"
_PARTS = re.compile(
    r"(?P<path>[^=]*)=(?P<source>[^{}^@]*(?:\{.*\}[^^@]*)?)(?:\^(?P<boost>[^@]*))?(?:@(?P<bundle>.+))?", re.DOTALL
)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN = {
    TEXT_FIELD, "id", "title", "lang", "source", "date", "osparse_hash", "text_semantic_info", CHUNKS_FIELD,
    CHUNK_TEXTS_FIELD, META_KEY, BASELINE_META_KEY,
}  # fmt: skip
COMPOSED = "osparse_text_"
"""Begins the name of the field that holds a text while an ingest pipeline encodes it."""


@dataclass(frozen=True)
class SparseFields:
    """What a deployment has beside its first sparse field."""

    boost: float = 1.0
    """Of the first."""
    fields: tuple[SparseField, ...] = ()
    bundles: Mapping[str, Bundle] = field(default_factory=dict)
    """Fingerprint -> bundle, of those that are not the index's own."""


def read_sparse_fields(asked: Sequence[str], bundle: Bundle) -> SparseFields:
    """Read what each field is to be.

    Args:
        asked: ``title_sparse=title^2`` each: the field's name, what it is made of (a field of the documents, a template
            such as ``{brand} {title}``, or ``text``), its boost (1; 0 searches it only where it is named), and the
            directory of the bundle that encodes it (the index's own). ``sparse_embedding=text^0.5`` gives the index's
            first field a boost.
        bundle: The index's own.

    Raises:
        InputError: another form, a name that is taken or comes twice, no field with a boost.
        BundleError: a bundle that cannot be read.
    """
    made = SparseFields()
    for text in asked:
        one, other = _parsed(text)
        if one.path in {field.path for field in made.fields}:
            raise InputError(f"`sparse_fields` has {one.path} twice; give each field its own name")
        if one.path == FIELD:
            if one.template is not None or other is not None:
                raise InputError(
                    f"{FIELD} is the index's first field, made of the text by the index's bundle: `sparse_fields` can "
                    f"give it a boost ({FIELD}=text^2); got {text!r}"
                )
            made = replace(made, boost=one.boost)
            continue
        if other is not None and other.fingerprint == bundle.fingerprint:
            one, other = replace(one, bundle=None), None
        bundles = made.bundles if other is None else {**made.bundles, other.fingerprint: other}
        made = replace(made, fields=(*made.fields, one), bundles=bundles)
    _check(made)
    return made


def kept_sparse_fields(before: Deployment, bundle: Bundle) -> SparseFields:
    """Those of the index before, for one that ``bundle`` serves; its own bundle's fields become ``bundle``'s.

    Raises:
        InputError: a field is encoded by a third bundle, which has to be given again.
    """
    fields = tuple(
        replace(field, bundle=None) if field.bundle and field.bundle.fingerprint == bundle.fingerprint else field
        for field in before.fields
    )
    others = [field for field in fields if field.bundle is not None]
    if others:
        shown = ", ".join(field.layout for field in others)
        raise InputError(
            f"the index before has fields that another bundle encodes ({shown}); give all further fields again as "
            f"`sparse_fields` ({FORM}), or none of them (`sparse_fields=[]`)"
        )
    return SparseFields(before.boost, fields)


def field_text(view: Deployment, fields: Mapping[str, Any]) -> str:
    """The text that one sparse field of a document is made of; empty where the document has none.

    Args:
        view: Of the field (:attr:`Deployment.views`).
        fields: Of the document, as the index stores it.

    Raises:
        ValueError: a field of the template is neither a text nor a whole number, nor a list of such.
    """
    return text_by(None if view.text_template is None else TextTemplate.parse(view.text_template), fields)


def text_by(template: TextTemplate | None, fields: Mapping[str, Any]) -> str:
    """The text that a template makes of a document, its own without one; empty without any; raises as above."""
    text = fields.get(TEXT_FIELD) if template is None else template.text_of(fields)
    return text if isinstance(text, str) else ""


def readable_text(view: Deployment, fields: Mapping[str, Any]) -> str:
    """As :func:`field_text`; empty where the text cannot be made."""
    try:
        return field_text(view, fields)
    except ValueError:
        return ""


def has_text(deployment: Deployment, fields: Mapping[str, Any]) -> bool:
    """Whether any of its sparse fields has a text that is not blank; raises as :func:`field_text`."""
    return any([field_text(view, fields).strip() for view in deployment.views])


def _parsed(text: str) -> tuple[SparseField, Bundle | None]:
    found = _PARTS.fullmatch(text)
    if found is None or not _NAME.fullmatch(found["path"]) or not found["source"]:
        raise InputError(f"a field of `sparse_fields` must be {FORM}, such as title_sparse=title^2, got {text!r}")
    path, source = found["path"], found["source"]
    if path in _TAKEN or path.startswith(COMPOSED):
        raise InputError(f"`sparse_fields`: {path} is the name of another field; choose another one, got {text!r}")
    template = None if source == TEXT_FIELD else str(_template(source))
    if template is not None and path in {name.split(".")[0] for name in TextTemplate.parse(template).fields}:
        raise InputError(f"`sparse_fields`: {path} cannot be made of itself, got {text!r}")
    bundle = None if found["bundle"] is None else Bundle.open(found["bundle"])
    return SparseField(path, template, _boost(found["boost"], text), _facts(bundle)), bundle


def _template(source: str) -> TextTemplate:
    return TextTemplate.parse(source) if "{" in source else TextTemplate.of_fields([source])


def _boost(given: str | None, text: str) -> float:
    try:
        boost = 1.0 if given is None else float(given)
    except ValueError:
        boost = math.nan
    if not 0 <= boost <= 1000:
        raise InputError(f"the boost of a field must be a number from 0 to 1000, got {given!r} in {text!r}")
    return boost


def _facts(bundle: Bundle | None) -> FieldBundle | None:
    if bundle is None:
        return None
    return FieldBundle(bundle.name, bundle.fingerprint, bundle.idf_version, bundle.vocabulary, bundle.head.max_length)


def _check(made: SparseFields) -> None:
    if not made.fields and made.boost != 1:
        raise InputError(f"a boost of {FIELD} has no effect without a further field; leave it out")
    if made.fields and not made.boost and not any(field.boost for field in made.fields):
        raise InputError("no field has a boost above 0, so a search would find nothing; give one of them a boost")
