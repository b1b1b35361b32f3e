"""The deployment: what osparse leaves in a cluster, all of it read back from there, none from a local file.

An index ``<name>-<fingerprint>`` under the alias ``<name>``; its mapping's ``_meta.osparse`` holds this dataclass.
Models on ML Commons are named ``<bundle>-<fingerprint>-encoder`` and ``-tokenizer``: names survive a chunk upload,
descriptions do not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

from osparse.contracts.sparse_field import SparseField
from osparse.errors import ClusterError

SCHEMA_VERSION = 1
Mode = Literal["ml-commons", "remote", "client"]
"""Who encodes documents: a model in the cluster; an encoder beside it that ML Commons calls; or osparse."""
EncoderPart = Literal["encoder", "remote", "remote-ids"]
"""Ends the name of the model that encodes documents; ``remote-ids`` gives ids to whoever asks."""
KeyStyle = Literal["raw", "u2024"]
"""``raw``: features carry the raw token. ``u2024``: '.' is stored as U+2024, because without the neural-search plugin
a rank_feature query cannot reach a feature whose name holds a dot."""

Vector = Literal["rank_features", "sparse_vector", "semantic"]
"""The field type that holds document weights: Lucene's feature field; SEISMIC's approximate one; or the ``semantic``
type, which makes a rank_features field of its own."""

Hybrid = Literal["none", "normalise", "rrf"]
"""How BM25 and sparse results are fused: by normalised scores, or by ranks (RRF)."""

FIELD = "sparse_embedding"
"""The field that holds document weights."""
CHUNKS_FIELD = "chunks"
"""The nested field that holds the weights of a long document's pieces, each under ``sparse_encoding``."""
CHUNK_TEXTS_FIELD = "chunk_texts"
META_KEY = "osparse"
BASELINE_META_KEY = "osparse_baseline"
"""In the ``_meta`` of an index that only serves to compare with."""


@dataclass(frozen=True)
class Deployment:
    """What ``_meta.osparse`` of an index says."""

    mode: Mode
    bundle: str
    """Name of the bundle."""
    fingerprint: str
    """Of the bundle, 64 hex digits."""
    idf_version: str
    vocabulary: int
    max_length: int
    key_style: KeyStyle
    ingest_pipeline: str | None
    search_pipeline: str | None
    field: str = FIELD
    schema: int = SCHEMA_VERSION
    vector: Vector = "rank_features"
    chunks: bool = False
    """Whether a document is encoded in pieces; ``field`` is then nested."""
    prune: str | None = None
    """The rule by which weights are left out ("max_ratio 0.1", "top_k 64"); None where all are kept, as proved."""
    two_phase: bool = False
    """Whether the search pipeline scores in two phases."""
    hybrid: Hybrid = "none"
    """How the search pipeline of hybrid queries fuses BM25 and sparse results."""
    skip_existing: bool = False
    """Whether the ingest pipeline leaves a text alone that the stored document has already."""
    ingest_batch: int = 1
    """Documents that the ingest pipeline hands to the model together."""
    piece_words: int | None = None
    """Words of one piece of a text; None where ``chunks`` is False, or osparse cuts the texts (mode client)."""
    text_template: str | None = None
    """How the text is made of other fields ("{title}\\n{body}"); None where documents bring it."""
    encoder_url: str | None = None
    """Of the encoder that ML Commons calls; None but in mode remote."""
    window_weight: float | None = None
    """Where a text that is longer than the encoder reads is encoded in windows: the weight of those after the first.
    None where it is cut, or encoded in pieces."""
    boost: float = 1.0
    """What the part of ``field`` in a score is multiplied by where further fields are searched too; 0: none of it."""
    fields: tuple[SparseField, ...] = ()
    """Further sparse fields beside ``field``."""

    @property
    def encoder_part(self) -> EncoderPart:
        return encoder_part(self.mode, self.vector)

    @cached_property
    def views(self) -> list[Deployment]:
        """One deployment for each sparse field, this one's own first, as if the index had no other.

        Its ``text_template`` makes the field's text of a stored document; None takes the stored text.
        """
        own = replace(self, text_template=None, fields=())
        return [own, *(_view(own, field) for field in self.fields)]

    @property
    def bundles(self) -> list[Deployment]:
        """The first view of each bundle that encodes a field, the index's own bundle first."""
        first: dict[str, Deployment] = {}
        for view in self.views:
            first.setdefault(view.fingerprint, view)
        return [*first.values()]

    def to_meta(self) -> dict[str, Any]:
        """An index of one field has neither ``boost`` nor ``fields``: older versions read it."""
        said = asdict(self)
        if not self.fields:
            del said["boost"], said["fields"]
        return {META_KEY: said}

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any], index: str) -> Deployment:
        """Raises :class:`ClusterError` if the index was not made by osparse, or by one of another schema."""
        raw = meta.get(META_KEY)
        if not isinstance(raw, Mapping) or "schema" not in raw:
            raise ClusterError(
                f"index {index} was not deployed by osparse; make one with: osparse deploy BUNDLE --index NAME"
            )
        if raw["schema"] != SCHEMA_VERSION:
            raise ClusterError(
                f"index {index} was made by another version of osparse (schema {raw['schema']}, this one reads "
                f"{SCHEMA_VERSION}); use the version that made it"
            )
        try:
            return cls(**{**raw, "fields": tuple(map(SparseField.from_meta, raw.get("fields", ())))})
        except (TypeError, AttributeError) as problem:
            raise ClusterError(f"index {index}: its _meta.{META_KEY} is not readable: {problem}") from None


def _view(own: Deployment, field: SparseField) -> Deployment:
    chosen = replace(own, field=field.path, boost=field.boost, text_template=field.template)
    bundle = field.bundle
    if bundle is None:
        return chosen
    return replace(
        chosen,
        bundle=bundle.name,
        fingerprint=bundle.fingerprint,
        idf_version=bundle.idf_version,
        vocabulary=bundle.vocabulary,
        max_length=bundle.max_length,
    )


def encoder_part(mode: Mode, vector: Vector) -> EncoderPart:
    """Which model encodes documents.

    A remote encoder of a ``sparse_vector`` field is asked for ids always: the server asks it for words where the index
    is reached through an alias.
    """
    if mode != "remote":
        return "encoder"
    return "remote-ids" if vector == "sparse_vector" else "remote"


def generated_fields(deployment: Deployment) -> list[str]:
    """The top-level fields that an encoder writes into the documents of an index."""
    if deployment.vector == "semantic":
        return ["text_semantic_info"]
    first = [CHUNKS_FIELD, CHUNK_TEXTS_FIELD] if deployment.chunks else [deployment.field]
    return [*first, *(field.path for field in deployment.fields)]


def feature_name(token: str, key_style: KeyStyle) -> str:
    """The rank_features key of a raw token; a U+2024 that is the token's own is followed by U+200B."""
    return token.replace("\u2024", "\u2024\u200b").replace(".", "\u2024") if key_style == "u2024" else token


def token_of(feature: str, key_style: KeyStyle) -> str:
    """The raw token of a rank_features key: :func:`feature_name` backwards."""
    if key_style == "raw":
        return feature
    return re.sub("\u2024(\u200b?)", lambda found: "\u2024" if found[1] else ".", feature)


def stored_vectors(source: Mapping[str, Any], field: str) -> list[dict[str, float]]:
    """What a document's ``_source`` holds under a dotted field: one vector, one per piece, or none."""
    values: list[Any] = [source]
    for name in field.split("."):
        below = [one.get(name) for one in values if isinstance(one, Mapping)]
        values = [one for each in below for one in (each if isinstance(each, list) else [each])]
    return [dict(one) for one in values if isinstance(one, Mapping)]
