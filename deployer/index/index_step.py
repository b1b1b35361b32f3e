"""The step that makes the index: ``<name>-<fingerprint>`` under the alias ``<name>``, created in one call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import META_KEY, Deployment, KeyStyle, Mode, encoder_part, generated_fields
from osparse.deployer import names
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.facts import ENGLISH_ANALYZERS, KOREAN_ANALYZERS, first_analyzer
from osparse.deployer.cluster.index_settings import pipelines_of, settings_drift
from osparse.deployer.cluster.inherited_settings import check_created, check_source, inherited
from osparse.deployer.index.layout import Serving
from osparse.deployer.index.pipeline_steps import ingest_name, prune_settings, words_per_piece
from osparse.deployer.index.seismic_parameters import (
    CHOSEN,
    DEFAULTS,
    KEPT,
    as_mapped,
    ceilings,
    parameters_of,
    threshold_of,
)
from osparse.deployer.index.user_mapping import UserMapping, merged, missing_fields, problems
from osparse.deployer.plan import ENCODER, TOKENIZER, Finding, Made
from osparse.errors import DeploymentConflictError, InputError
from osparse.opensearch_templates import render

MAX_TOKENS = 10_000_000
"""Tokens of one text that text_chunking may count; the server's 10,000 would refuse long documents."""
_SHARDS = "index.number_of_shards"
_UNREGISTERED = {ENCODER: "(the encoder, once registered)", TOKENIZER: "(the tokenizer, once registered)"}
"""In the body of a plan, which is compared with index templates and sent nowhere."""


@dataclass(frozen=True)
class ServingIndex:
    """Step: the index exists, carries this deployment, and has its alias unless another index serves under it."""

    api: ClusterApi
    alias: str
    name: str
    deployment: Deployment
    bundle: Bundle
    beside: str | None = None
    """The index that the alias stands on, if that is another one."""
    serving: Serving = field(default_factory=Serving)
    """Shards, replicas and refresh interval; the rest is the deployment's."""
    user: UserMapping | None = None
    """What the index has beside what osparse needs: the user's own, or that of the index it replaces."""
    kept: bool = False
    """Whether ``user`` is that of the index before, which counts for a new index only."""

    @property
    def takes(self) -> tuple[str, ...]:
        """A semantic field names its models."""
        return (ENCODER, TOKENIZER) if self.deployment.vector == "semantic" else ()

    def inspect(self, made: Made) -> Finding:
        """Raises :class:`DeploymentConflictError` if the index is taken by anything else."""
        place = f"beside {self.beside}" if self.beside else f"under the alias {self.alias}"
        what = f"index {self.name} {place}"
        found = (self.api.get_index(self.name) or {}).get(self.name)
        if found is None:
            from_templates = inherited(self.api, self.name, self.planned_body(made.ids))
            whose = f"with the fields and settings of {self.user.where}" if self.user is not None else None
            reasons = ["there is none of that name", *filter(None, [whose, from_templates, self._seismic_words()])]
            return Finding("create", what, "; ".join(reasons))
        self._check_same(found)
        check_source(self.name, found, tuple(generated_fields(self.deployment)))
        drift = self._drift(found)
        if self.beside is None and self.alias not in found.get("aliases", {}):
            drift.insert(0, "the index exists without its alias")
        if more := self._missing_fields(found):
            drift.append(f"its mapping lacks {', '.join(more)}")
        return Finding("change", what, "; ".join(drift)) if drift else Finding("keep", what, "exists, as it should")

    def apply(self, made: Made) -> Made:
        body = self.body(made.ids)
        if self.api.create_index(self.name, body):
            check_created(self.api, self.name, body)
        else:
            if self.beside is None:
                self.api.update_aliases(render("alias_add", index=self.name, alias=self.alias))
            self.api.put_index_settings(self.name, self._changeable())
            found = (self.api.get_mapping(self.name) or {}).get(self.name, {}).get("mappings", {}).get("_meta", {})
            meta = {**found, **self.deployment.to_meta()}  # a load under way keeps a note there, its owner may too
            more = self._missing_fields((self.api.get_index(self.name) or {}).get(self.name, {}))
            fields = render("mapping_fields", properties=more) if more else {}
            self.api.put_mapping(self.name, {**render("index_meta", meta=meta), **fields})
        return Made()

    def planned_body(self, ids: Mapping[str, str] = {}) -> dict[str, Any]:
        """The body as far as it is known before the models have ids."""
        return self.body({**_UNREGISTERED, **ids})

    def body(self, ids: Mapping[str, str]) -> dict[str, Any]:
        """Args: ids: of the encoder and the tokenizer, where :attr:`takes` names them."""
        values: dict[str, Any] = {
            "alias": self.alias,
            "meta": self.deployment.to_meta(),
            "korean_analyzer": first_analyzer(self.api, KOREAN_ANALYZERS),
            "english_analyzer": first_analyzer(self.api, ENGLISH_ANALYZERS),
        }
        template, more = self._template(ids)
        body: dict[str, Any] = render(template, **values, **more)
        weights = body["mappings"]["properties"].get(self.deployment.field, {})
        body["mappings"]["properties"] |= {one.path: dict(weights) for one in self.deployment.fields}
        settings = {**self._given(), **self._changeable()}
        body["settings"]["index"].update({name.removeprefix("index."): value for name, value in settings.items()})
        if self.beside is not None:
            del body["aliases"]
        if self.user is None:
            return body
        self._check_user(self.user, body)
        return merged(self.user, body, self._given(), aliases=self.beside is None)

    def _given(self) -> dict[str, Any]:
        """The settings that the call names."""
        s, given = self.serving, dict[str, Any]()
        if s.shards is not None:
            given[_SHARDS] = s.shards
        if s.replicas is not None:
            given |= {"index.auto_expand_replicas": "false", "index.number_of_replicas": s.replicas}
        if s.refresh_interval is not None:
            given["index.refresh_interval"] = s.refresh_interval
        return given

    def _check_user(self, user: UserMapping, body: dict[str, Any]) -> None:
        """Raises :class:`InputError` naming all that contradicts; what the index before had gives way to the call."""
        given = {} if self.kept else self._given()
        if wrong := problems(user, body, self.alias, given):
            raise InputError(f"{user.where} cannot be merged with what osparse needs: {'; '.join(wrong)}")

    def _missing_fields(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """The user's fields that the index, which exists, does not have."""
        if self.user is None or self.kept:
            return {}
        return missing_fields(self.user, found)

    def _template(self, ids: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        """The template of this field type and what it wants besides."""
        d = self.deployment
        if d.vector == "semantic":
            values = {"encoder_id": ids[ENCODER], "tokenizer_id": ids[TOKENIZER]}
            return "index_semantic", {**values, "sparse_encoding": _sparse_encoding(d)}
        if d.vector == "sparse_vector":
            return "index_sparse_vector", {"field": d.field, "parameters": as_mapped(self._seismic())}
        if d.chunks:
            path, _, leaf = d.field.rpartition(".")
            return "index_chunks", {"path": path, "leaf": leaf, "max_tokens": MAX_TOKENS}
        return "index_rank_features", {"field": d.field}

    def _seismic_words(self) -> str | None:
        if self.deployment.vector != "sparse_vector":
            return None
        chosen = self._seismic()
        return (
            f"SEISMIC: weights up to {chosen['ceiling_ingest']:g} in documents and {chosen['ceiling_search']:g} in "
            f"queries, segments below {chosen['threshold']:,} documents searched exactly"
        )

    def _seismic(self) -> dict[str, Any]:
        """The parameters of the field: what the call, the bundle, or else the index that is replaced says of each."""
        before: dict[str, float] = {}
        if self.beside is not None:
            mappings = (self.api.get_mapping(self.beside) or {}).get(self.beside, {}).get("mappings", {})
            there = parameters_of(mappings, self.deployment.field)
            before = {name: there[name] for name in KEPT if name in there}
        given = self.serving.seismic_threshold
        return {
            **DEFAULTS,
            **before,
            **ceilings(self.bundle),
            **self.bundle.source.get(CHOSEN, {}),
            **({"threshold": given} if given is not None else {}),
        }

    def _changeable(self) -> dict[str, Any]:
        """The settings that an index may be given at any time."""
        chosen: dict[str, Any] = dict(render("index_pipelines", **pipelines_of(self.deployment)))
        if self.deployment.chunks:
            chosen["index.analyze.max_token_count"] = MAX_TOKENS
        return {**chosen, **{name: value for name, value in self._given().items() if name != _SHARDS}}

    def _drift(self, found: dict[str, Any]) -> list[str]:
        """What differs from the deployment wanted; the pipelines first, as a person would see them."""
        drift = settings_drift(self.api.get_index_settings(self.name), self._changeable())
        there = Deployment.from_meta(found["mappings"]["_meta"], self.name)
        wanted = asdict(self.deployment)
        meta = [f"its _meta says {key} {value}" for key, value in asdict(there).items() if value != wanted[key]]
        return [*drift, *meta]

    def _check_same(self, found: dict[str, Any]) -> None:
        meta = found.get("mappings", {}).get("_meta", {})
        if META_KEY not in meta:
            raise DeploymentConflictError(f"{self.name} exists and osparse did not make it; choose another `index`")
        there = Deployment.from_meta(meta, self.name)
        if there.bundle != self.deployment.bundle and there.fingerprint == self.deployment.fingerprint:
            raise DeploymentConflictError(
                f"{self.name} serves the same model already, as bundle {there.bundle}, and this bundle is called "
                f"{self.deployment.bundle}; deploy it under the name {there.bundle}, or choose another `index`"
            )
        differs = [
            f"{what}: {old} there, {new} required"
            for what, old, new in zip(_LAYOUT, _layout(there), _layout(self.deployment), strict=True)
            if old != new
        ]
        template_only = bool(differs) and differs[0].startswith(_LAYOUT[-1]) and not there.fields
        if template_only and not self.api.count_unless_closed(self.name):
            differs = []  # no document has a text that was made otherwise
        shards = int(found.get("settings", {}).get("index", {}).get("number_of_shards", 1))
        if self.serving.shards not in (None, shards):
            differs.append(f"shards: {shards} there, {self.serving.shards} required")
        threshold = threshold_of(found.get("mappings", {}), self.deployment.field)
        if self.serving.seismic_threshold not in (None, threshold):
            differs.append(f"SEISMIC threshold: {threshold:,} there, {self.serving.seismic_threshold:,} required")
        if differs:
            raise DeploymentConflictError(
                f"{self.name} serves this bundle already, laid out differently ({'; '.join(differs)}); ask for it as "
                "it is, or choose another `index`"
            )


_LAYOUT = (
    "fingerprint",
    "encoded by",
    "feature names",
    "field type",
    "chunks",
    "prune",
    "weight of windows",
    "sparse fields",
    "text template",
)
"""What cannot be changed in an index that holds documents."""


def _layout(deployment: Deployment) -> tuple[object, ...]:
    d = deployment
    encodes = "client" if d.mode == "client" else "the cluster's pipeline"
    further = ", ".join(field.layout for field in d.fields) or None
    return (
        d.fingerprint[:12], encodes, d.key_style, d.vector, d.chunks, d.prune, d.window_weight, further,
        d.text_template,
    )  # fmt: skip


def _sparse_encoding(deployment: Deployment) -> dict[str, Any]:
    """Said even when nothing is pruned: the semantic field's own default drops weights."""
    if deployment.prune is None:
        return {"prune_type": "none"}
    return prune_settings(deployment.prune)


def deployment_of(
    bundle: Bundle, mode: Mode, key_style: KeyStyle, serving: Serving | None = None, encoder_url: str | None = None
) -> Deployment:
    """What the index's ``_meta`` will say."""
    s = serving or Serving()
    ml = mode != "client"
    ingests = ml and s.field != "semantic"
    return Deployment(
        mode=mode,
        bundle=bundle.name,
        fingerprint=bundle.fingerprint,
        idf_version=bundle.idf_version,
        vocabulary=bundle.vocabulary,
        max_length=bundle.head.max_length,
        key_style="raw" if ml else key_style,
        ingest_pipeline=ingest_name(bundle, s, encoder_part(mode, s.field)) if ingests else None,
        search_pipeline=names.search_pipeline(bundle, s.search_variant) if ml else None,
        field=s.vector_field,
        vector=s.field,
        chunks=s.chunk_text,
        window_weight=s.window_weight,
        prune=s.prune,
        two_phase=s.two_phase,
        hybrid=s.hybrid,
        skip_existing=s.skip_existing,
        ingest_batch=s.ingest_batch,
        text_template=s.text_template,
        encoder_url=encoder_url,
        boost=s.boost,
        fields=s.sparse_fields,
        piece_words=words_per_piece(bundle) if s.chunk_text and ml else None,
    )
