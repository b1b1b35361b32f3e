"""The step that makes the index: ``<name>-<fingerprint>`` under the alias ``<name>``, created in one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from osparse.bundle import Bundle
from osparse.deployer import names
from osparse.deployer.cluster_api import ClusterApi
from osparse.deployer.facts import ENGLISH_ANALYZERS, KOREAN_ANALYZERS, first_analyzer
from osparse.deployer.ml_models import ServedModel
from osparse.deployer.plan import Finding
from osparse.deployer.serving import Serving
from osparse.deployment import META_KEY, Deployment, KeyStyle, Mode
from osparse.encoding import up_to_tenth
from osparse.errors import DeploymentConflictError
from osparse.lexicon import MAX_WEIGHT
from osparse.onnx_encoder import open_query_encoder
from osparse.opensearch_templates import render


@dataclass
class ServingIndex:
    """Step: the index exists, carries this deployment, and has its alias unless another index serves under it."""

    api: ClusterApi
    alias: str
    name: str
    deployment: Deployment
    bundle: Bundle
    beside: str | None = None
    """The index that the alias stands on, if that is another one."""
    models: tuple[ServedModel, ServedModel] | None = None
    """Encoder and tokenizer, whose ids a semantic field names."""

    def inspect(self) -> Finding:
        """Raises :class:`DeploymentConflictError` if the index is taken by anything else."""
        place = f"beside {self.beside}" if self.beside else f"under the alias {self.alias}"
        what = f"index {self.name} {place}"
        found = (self.api.get_index(self.name) or {}).get(self.name)
        if found is None:
            return Finding("create", what, "there is none of that name")
        self._check_same(found)
        drift = self._drift(found)
        if self.beside is None and self.alias not in found.get("aliases", {}):
            drift.insert(0, "the index exists without its alias")
        return Finding("change", what, "; ".join(drift)) if drift else Finding("keep", what, "exists, as it should")

    def apply(self) -> None:
        if not self.api.create_index(self.name, self.body()):
            if self.beside is None:
                self.api.update_aliases(render("alias_add", index=self.name, alias=self.alias))
            self.api.put_index_settings(self.name, render("index_pipelines", **pipelines_of(self.deployment)))
            found = (self.api.get_mapping(self.name) or {}).get(self.name, {}).get("mappings", {}).get("_meta", {})
            meta = {**found, **self.deployment.to_meta()}  # a load under way keeps a note there, its owner may too
            self.api.put_mapping(self.name, render("index_meta", meta=meta))

    def body(self) -> dict[str, Any]:
        values: dict[str, Any] = {
            "alias": self.alias,
            "meta": self.deployment.to_meta(),
            "korean_analyzer": first_analyzer(self.api, KOREAN_ANALYZERS),
            "english_analyzer": first_analyzer(self.api, ENGLISH_ANALYZERS),
        }
        template, more = self._template()
        body: dict[str, Any] = render(template, **values, **more)
        settings = render("index_pipelines", **pipelines_of(self.deployment))
        given = {name.removeprefix("index."): value for name, value in settings.items() if value is not None}
        body["settings"]["index"].update(given)
        if self.beside is not None:
            del body["aliases"]
        return body

    def _template(self) -> tuple[str, dict[str, Any]]:
        """The template of this field type and what it wants besides."""
        d = self.deployment
        if d.vector == "semantic":
            ids = [model.id or "" for model in self.models] if self.models else ["", ""]
            values = dict(zip(("encoder_id", "tokenizer_id"), ids, strict=True))
            return "index_semantic", {**values, "sparse_encoding": _sparse_encoding(d)}
        if d.vector == "sparse_vector":
            return "index_sparse_vector", {"field": d.field, **ceilings(self.bundle)}
        if d.chunks:
            path, _, leaf = d.field.rpartition(".")
            return "index_chunks", {"path": path, "leaf": leaf}
        return "index_rank_features", {"field": d.field}

    def _drift(self, found: dict[str, Any]) -> list[str]:
        """What differs from the deployment wanted; the pipelines first, as a person would see them."""
        there = Deployment.from_meta(found["mappings"]["_meta"], self.name)
        named = there.search_pipeline or "none"
        meta = [] if there == self.deployment else [f"its _meta names search pipeline {named}"]
        return [*pipeline_drift(self.api, self.name, self.deployment), *meta]

    def _check_same(self, found: dict[str, Any]) -> None:
        meta = found.get("mappings", {}).get("_meta", {})
        if META_KEY not in meta:
            raise DeploymentConflictError(f"{self.name} exists and osparse did not make it; choose another --index")
        there = Deployment.from_meta(meta, self.name)
        differs = [
            f"{what}: {old} there, {new} wanted"
            for what, old, new in zip(_LAYOUT, _layout(there), _layout(self.deployment), strict=True)
            if old != new
        ]
        if differs:
            raise DeploymentConflictError(
                f"{self.name} serves this bundle already, laid out differently ({'; '.join(differs)}); ask for it as "
                "it is, or choose another --index"
            )


_LAYOUT = ("fingerprint", "mode", "feature names", "field type", "chunks", "prune")
"""What cannot be changed in an index that holds documents."""


def _layout(deployment: Deployment) -> tuple[object, ...]:
    d = deployment
    return (d.fingerprint[:12], d.mode, d.key_style, d.vector, d.chunks, d.prune)


def pipeline_drift(api: ClusterApi, name: str, deployment: Deployment) -> list[str]:
    """Where an index's default pipelines are not its deployment's: documents or queries would go unencoded."""
    there = api.get_index_settings(name)
    wanted: dict[str, str | None] = render("index_pipelines", **pipelines_of(deployment))
    return [
        f"its {setting} is {there.get(setting, 'not set')}, not {value or 'unset'}"
        for setting, value in wanted.items()
        if there.get(setting) != value
    ]


def pipelines_of(deployment: Deployment) -> dict[str, str | None]:
    """What the settings of its index must name."""
    return {"ingest_pipeline": deployment.ingest_pipeline, "search_pipeline": deployment.search_pipeline}


def ceilings(bundle: Bundle) -> dict[str, float]:
    """SEISMIC keeps 8 bits of a weight below a ceiling and clips what is above: the bundle's own, from its weights.

    Of a bundle that does not say: the probes' largest document weight with a fifth to spare, the IDF table's largest.
    """
    said = bundle.fit.get("ceilings", {})
    if {"ingest", "search"} <= said.keys():
        return {"ceiling_ingest": float(said["ingest"]), "ceiling_search": min(float(said["search"]), MAX_WEIGHT)}
    largest = max((weight for probe in bundle.probes() for weight in probe.document.values()), default=3.0)
    lexicon = open_query_encoder(bundle.zip_path("tokenizer")).lexicon
    return {
        "ceiling_ingest": up_to_tenth(largest * 1.2),
        "ceiling_search": min(up_to_tenth(float(max(lexicon.idf))), MAX_WEIGHT),
    }


def _sparse_encoding(deployment: Deployment) -> dict[str, Any]:
    """Said even when nothing is pruned: the semantic field's own default drops weights."""
    if deployment.prune is None:
        return {"prune_type": "none"}
    kind, ratio = deployment.prune.split()
    return {"prune_type": kind, "prune_ratio": float(ratio)}


def deployment_of(bundle: Bundle, mode: Mode, key_style: KeyStyle, serving: Serving | None = None) -> Deployment:
    """What the index's ``_meta`` will say."""
    s = serving or Serving()
    ml = mode == "ml-commons"
    ingests = ml and s.field != "semantic"
    return Deployment(
        mode=mode,
        bundle=bundle.name,
        fingerprint=bundle.fingerprint,
        idf_version=bundle.idf_version,
        vocabulary=bundle.vocabulary,
        max_length=bundle.head.max_length,
        key_style="raw" if ml else key_style,
        ingest_pipeline=names.ingest_pipeline(bundle, s.ingest_variant) if ingests else None,
        search_pipeline=names.search_pipeline(bundle, s.search_variant) if ml else None,
        field=s.vector_field,
        vector=s.field,
        chunks=s.chunk_text,
        prune=s.prune,
    )
