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
    shards: int = 1

    def inspect(self) -> Finding:
        """Raises :class:`DeploymentConflictError` if the alias or the index is taken by anything else."""
        what = f"index {self.name} under the alias {self.alias}"
        found = self.api.get_index(self.alias)
        if found is not None:
            self._check_same(found, self.alias)
        if found is not None and self.name in found:
            return Finding("keep", what, "exists, same fingerprint")
        behind = self.api.get_index(self.name)
        if behind is None:
            return Finding("create", what, "there is none of that name")
        self._check_same(behind, self.name)
        return Finding("change", what, "the index exists without its alias")

    def apply(self) -> None:
        if not self.api.create_index(self.name, self.body()):
            self.api.update_aliases(render("alias_add", index=self.name, alias=self.alias))

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = render(
            "index_rank_features",
            alias=self.alias,
            shards=self.shards,
            field=self.deployment.field,
            meta=self.deployment.to_meta(),
            korean_analyzer=first_analyzer(self.api, KOREAN_ANALYZERS),
            english_analyzer=first_analyzer(self.api, ENGLISH_ANALYZERS),
        )
        settings = body["settings"]["index"]
        if self.deployment.ingest_pipeline:
            settings["default_pipeline"] = self.deployment.ingest_pipeline
        if self.deployment.search_pipeline:
            settings["search.default_pipeline"] = self.deployment.search_pipeline
        return body

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


def deployment_of(bundle: Bundle, mode: Any, key_style: Any) -> Deployment:
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
        search_pipeline=names.search_pipeline(bundle) if ml else None,
    )
