"""The index that is adopted: where it is, what it holds, and what makes it impossible to adopt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from osparse.contracts.deployment import META_KEY, Deployment, generated_fields
from osparse.deployer.adopt.calls import has_routed_documents
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.cluster.inherited_settings import check_source
from osparse.deployer.index.user_mapping import UserMapping, mapping_of_index
from osparse.deployer.load.documents import HASH_FIELD
from osparse.errors import DeploymentConflictError, InputError
from osparse.rows.text_template import TEXT_FIELD, TextTemplate


@dataclass(frozen=True)
class Adoption:
    """What :func:`osparse.deployer.deploy` is told of an index that it should take over."""

    source: str
    """An index, or an alias of one."""
    cluster: Cluster | None = None
    """Where it is; None: on the cluster that is deployed to."""
    changed_field: str | None = None
    """A date field that every write sets, to find changes by; None: the sequence numbers of the index."""
    replace_index: bool = False
    """Remove the source where it has the very name that is to be served; a clone of it stays for a rollback."""


@dataclass(frozen=True)
class SourceIndex:
    """One concrete index, open and whole."""

    api: ClusterApi
    index: str
    uuid: str
    mappings: Mapping[str, Any]
    settings: Mapping[str, Any]
    made_by: Deployment | None
    """Of an osparse index of another cluster: what its encoder wrote is left behind."""
    remote: bool
    """Whether it is on another cluster than the new index."""

    @property
    def shown(self) -> str:
        return f"{self.api.cluster.url}#{self.index}" if self.remote else self.index

    @property
    def left_behind(self) -> list[str]:
        """Fields that are not copied."""
        return [*generated_fields(self.made_by), HASH_FIELD] if self.made_by is not None else [HASH_FIELD]

    def definition(self) -> UserMapping:
        """Its settings and mappings for the new index; where it leaves dates to be detected, that stays."""
        user = mapping_of_index(self.index, {"mappings": self.mappings, "settings": self.settings}, self.made_by)
        return replace(user, where=self.shown, mappings={"date_detection": True, **user.mappings})

    def text_fields(self) -> list[str]:
        return text_fields(self.mappings.get("properties", {}))


def read_source(api: ClusterApi, adoption: Adoption) -> SourceIndex:
    """Find the index and look at it.

    Args:
        api: The cluster that is deployed to.

    Raises:
        InputError: there is no such index, the alias stands on several, or documents have a routing of their own.
        DeploymentConflictError: osparse made it, on this cluster.
        ClusterError: it is closed, or does not keep whole documents.
    """
    there = ClusterApi(adoption.cluster) if adoption.cluster is not None else api
    remote = there.cluster.url != api.cluster.url
    found = there.get_index(adoption.source)
    if not found:
        raise InputError(f"{there.cluster.url} has no index {adoption.source}, which `source` names")
    if len(found) > 1:
        raise InputError(
            f"`source` {adoption.source} stands for {len(found)} indices ({', '.join(sorted(found))}); name one of them"
        )
    ((index, body),) = found.items()
    mappings = body.get("mappings", {})
    meta = mappings.get("_meta", {})
    made_by = Deployment.from_meta(meta, index) if META_KEY in meta else None
    if made_by is not None and not remote:
        raise DeploymentConflictError(
            f"osparse made the index {index}: deploy the bundle without `source`, and its documents are copied"
        )
    check_source(index, body, tuple(generated_fields(made_by)) if made_by is not None else ())
    there.count(index)
    if has_routed_documents(there, index):
        raise InputError(
            f"documents of {index} have a routing of their own, and osparse writes documents without routing; their "
            "ids would not tell them apart. Reindex them without routing first"
        )
    return SourceIndex(there, index, there.index_uuid(index) or "", mappings, body.get("settings", {}), made_by, remote)


def check_text(source: SourceIndex, template: str | None) -> None:
    """Raises :class:`InputError` where the new index would have no text to encode."""
    if template is not None:
        known = source.mappings.get("properties", {})
        unknown = [name for name in TextTemplate.parse(template).fields if name.split(".")[0] not in known]
        if unknown:
            raise InputError(
                f"{source.shown} has no field {', '.join(unknown)}, of which the text should be made; it has the text "
                f"fields {', '.join(source.text_fields()) or '(none)'}"
            )
        return
    if source.mappings.get("properties", {}).get(TEXT_FIELD, {}).get("type") not in ("text", "semantic"):
        raise InputError(
            f"{source.shown} has no text field {TEXT_FIELD}; say with `text_field` or `template` what is to be "
            f"encoded. Its text fields: {', '.join(source.text_fields()) or '(none)'}"
        )


def text_fields(properties: Mapping[str, Any]) -> list[str]:
    """Dotted names of the fields that are searched by words, those of nested documents aside."""
    return sorted(_texts(properties, ""))


def _texts(properties: Mapping[str, Any], before: str) -> Iterator[str]:
    for name, body in properties.items():
        if body.get("type") in ("text", "match_only_text"):
            yield f"{before}{name}"
        elif body.get("type", "object") == "object":
            yield from _texts(body.get("properties", {}), f"{before}{name}.")
