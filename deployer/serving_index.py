"""The step that makes the index: ``<name>-<fingerprint>`` under the alias ``<name>``, created in one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from osparse.bundle import Bundle
from osparse.deployer import names
from osparse.deployer.cluster_api import ClusterApi
from osparse.deployer.facts import ENGLISH_ANALYZERS, KOREAN_ANALYZERS, first_analyzer
from osparse.deployer.plan import Finding
from osparse.deployment import META_KEY, Deployment
from osparse.errors import DeploymentConflictError
from osparse.opensearch_templates import render


@dataclass
class ServingIndex:
    """Step: the index and its alias exist, and carry this deployment."""

    api: ClusterApi
    alias: str
    name: str
    deployment: Deployment

    def inspect(self) -> Finding:
        """Raises :class:`DeploymentConflictError` if the alias or the index is taken by anything else."""
        what = f"index {self.name} under the alias {self.alias}"
        found = self.api.get_index(self.alias)
        if found is not None:
            self._check_same(found, self.alias)
        if found is not None and self.name in found:
            drift = self._drift(found[self.name])
            return Finding("change", what, "; ".join(drift)) if drift else Finding("keep", what, "exists, as it should")
        behind = self.api.get_index(self.name)
        if behind is None:
            return Finding("create", what, "there is none of that name")
        self._check_same(behind, self.name)
        return Finding("change", what, "the index exists without its alias")

    def apply(self) -> None:
        if not self.api.create_index(self.name, self.body()):
            self.api.update_aliases(render("alias_add", index=self.name, alias=self.alias))
            self.api.put_index_settings(self.name, render("index_pipelines", **_pipelines(self.deployment)))
            self.api.put_mapping(self.name, render("index_meta", meta=self.deployment.to_meta()))

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = render(
            "index_rank_features",
            alias=self.alias,
            field=self.deployment.field,
            meta=self.deployment.to_meta(),
            korean_analyzer=first_analyzer(self.api, KOREAN_ANALYZERS),
            english_analyzer=first_analyzer(self.api, ENGLISH_ANALYZERS),
        )
        settings = render("index_pipelines", **_pipelines(self.deployment))
        given = {name.removeprefix("index."): value for name, value in settings.items() if value is not None}
        body["settings"]["index"].update(given)
        return body

    def _drift(self, found: dict[str, Any]) -> list[str]:
        """What differs from the deployment wanted; the pipelines first, as a person would see them."""
        there = Deployment.from_meta(found["mappings"]["_meta"], self.name)
        named = there.search_pipeline or "none"
        meta = [] if there == self.deployment else [f"its _meta names search pipeline {named}"]
        return [*pipeline_drift(self.api, self.name, self.deployment), *meta]

    def _check_same(self, found: dict[str, Any], asked: str) -> None:
        for name, body in found.items():
            meta = body.get("mappings", {}).get("_meta", {})
            if META_KEY not in meta:
                raise DeploymentConflictError(
                    f"{asked} exists and osparse did not make it (index {name}); choose another --index"
                )
            there = Deployment.from_meta(meta, name)
            if there.fingerprint != self.deployment.fingerprint:
                raise DeploymentConflictError(
                    f"{asked} serves bundle {there.bundle} with fingerprint {there.fingerprint[:12]} (index {name}); "
                    f"this bundle is {self.deployment.bundle} with fingerprint {self.deployment.fingerprint[:12]}; "
                    f"choose another --index, or delete the old index first: DELETE /{name}"
                )
            if (there.mode, there.key_style) != (self.deployment.mode, self.deployment.key_style):
                raise DeploymentConflictError(
                    f"{asked} serves this bundle already, in mode {there.mode} with {there.key_style} feature names "
                    f"(index {name}); mode {self.deployment.mode} with {self.deployment.key_style} feature names needs "
                    "another --index"
                )


def pipeline_drift(api: ClusterApi, name: str, deployment: Deployment) -> list[str]:
    """Where an index's default pipelines are not its deployment's: documents or queries would go unencoded."""
    there = api.get_index_settings(name)
    wanted: dict[str, str | None] = render("index_pipelines", **_pipelines(deployment))
    return [
        f"its {setting} is {there.get(setting, 'not set')}, not {value or 'unset'}"
        for setting, value in wanted.items()
        if there.get(setting) != value
    ]


def _pipelines(deployment: Deployment) -> dict[str, str | None]:
    return {"ingest_pipeline": deployment.ingest_pipeline, "search_pipeline": deployment.search_pipeline}


def deployment_of(bundle: Bundle, mode: Any, key_style: Any, two_phase: bool = False) -> Deployment:
    """What the index's ``_meta`` will say."""
    ml = mode == "ml-commons"
    return Deployment(
        mode=mode,
        bundle=bundle.name,
        fingerprint=bundle.fingerprint,
        idf_version=bundle.idf_version,
        vocabulary=bundle.vocabulary,
        max_length=bundle.head.max_length,
        key_style="raw" if ml else key_style,
        ingest_pipeline=names.ingest_pipeline(bundle) if ml else None,
        search_pipeline=names.search_pipeline(bundle, two_phase) if ml else None,
    )
