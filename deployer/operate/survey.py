"""What is to be deployed, and what the cluster has of it already."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import META_KEY, Deployment
from osparse.deployer import names
from osparse.deployer.adopt.source_index import Adoption, check_text
from osparse.deployer.adopt.survey import Adopted, survey_adoption
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.cluster.facts import AskedMode, Choice, Facts, choose_mode, look
from osparse.deployer.fields.sparse_fields import SparseFields, kept_sparse_fields, read_sparse_fields
from osparse.deployer.index.generations import Generation, read_generations
from osparse.deployer.index.index_step import deployment_of
from osparse.deployer.index.kept_options import settle
from osparse.deployer.index.layout import Serving, check_serving
from osparse.deployer.index.user_mapping import UserMapping, mapping_of_index, read_user_mapping
from osparse.deployer.remote.options import remote_endpoint, with_remote_batch
from osparse.errors import DeploymentConflictError, InputError

log = logging.getLogger("osparse.deployer.operate.survey")


@dataclass(frozen=True)
class Survey:
    """What is to be deployed, and what the cluster has of it."""

    api: ClusterApi
    facts: Facts
    bundle: Bundle
    alias: str
    index: str
    """The concrete index that is to serve under the alias."""
    mode: Choice
    serving: Serving
    deployment: Deployment
    """What the index's ``_meta`` is to say."""
    before: Deployment | None
    """Of the index that exists or is replaced."""
    old: Generation | None
    """Another bundle's index that serves under the alias."""
    notes: tuple[str, ...]
    user: UserMapping | None = None
    """What the index is to have beside what osparse needs; None: nothing."""
    adopted: Adopted | None = None
    """The index that is taken over; None also where that is done."""
    others: Mapping[str, Bundle] = field(default_factory=dict)
    """Fingerprint -> bundle, of the further sparse fields that another bundle encodes."""

    @property
    def beside(self) -> str | None:
        """What has, or will have given up, the name that the new index takes."""
        if self.adopted is not None:
            return self.adopted.source.shown
        return self.old.index if self.old is not None else None


def read_survey(
    bundle: Bundle,
    cluster: Cluster,
    alias: str,
    asked: AskedMode,
    serving: Serving | Mapping[str, Any] | None,
    mapping: Path | None = None,
    adoption: Adoption | None = None,
    encoder_url: str | None = None,
    sparse_fields: Sequence[str] | None = None,
) -> Survey:
    """Read the cluster and settle what is to be deployed; raises as :func:`deploy`."""
    names.check_index_name(alias)
    _check_options(serving)
    further = read_sparse_fields(sparse_fields, bundle) if sparse_fields is not None else None
    api = ClusterApi(cluster)
    facts = look(api)
    index = names.concrete_index(alias, bundle)
    adopted = survey_adoption(api, alias, index, adoption) if adoption is not None else None
    existing, old = _existing(api, index), _in_use(api, alias, index) if adopted is None else None
    choice = _mode(facts, bundle, asked, existing)
    before = existing or (old.deployment if old is not None else None)
    endpoint = remote_endpoint(choice.mode, encoder_url, existing)
    if further is None and before is not None and before.fields and not isinstance(serving, Serving):
        further = kept_sparse_fields(before, bundle)
    settled, notes = settle(before, choice.mode, _with_fields(serving, further))
    if sparse_fields is None and settled.sparse_fields:
        notes.append(f"kept from the index before: sparse-field {', '.join(one.path for one in settled.sparse_fields)}")
    settled = with_remote_batch(settled, facts, choice.mode, serving, before)
    check_serving(settled, facts, choice, bundle)
    if adopted is not None:
        check_text(adopted.source, settled.text_template)
        for template in (one.template for one in settled.sparse_fields if one.template is not None):
            check_text(adopted.source, template)
    same_mode = existing is not None and (existing.mode == "client") == (choice.mode == "client")
    style = existing.key_style if existing is not None and same_mode else facts.key_style
    deployment = deployment_of(bundle, choice.mode, style, settled, endpoint)
    log.debug("mode %s: %s", choice.mode, choice.why)
    return Survey(api, facts, bundle, alias, index, choice, settled, deployment, before, old, tuple(notes),
                  _user_mapping(api, mapping, old, adopted), adopted,
                  further.bundles if further is not None else {})  # fmt: skip


def _check_options(serving: Serving | Mapping[str, Any] | None) -> None:
    """Raises :class:`InputError` for sparse fields among the options, which cannot hold the bundles of them."""
    if isinstance(serving, Serving):
        named = serving.sparse_fields != () or serving.boost != 1
    else:
        named = bool({"sparse_fields", "boost"} & {*(serving or ())})
    if named:
        raise InputError("`sparse_fields` is an argument of its own, not one of the options in `serving`")


def _with_fields(
    serving: Serving | Mapping[str, Any] | None, further: SparseFields | None
) -> Serving | Mapping[str, Any] | None:
    """The options with the further sparse fields; as they are without any."""
    if further is None:
        return serving
    if isinstance(serving, Serving):
        return replace(serving, boost=further.boost, sparse_fields=further.fields)
    return {**(serving or {}), "boost": further.boost, "sparse_fields": further.fields}


def _user_mapping(
    api: ClusterApi, mapping: Path | None, old: Generation | None, adopted: Adopted | None
) -> UserMapping | None:
    """That of the file, or of the index that is replaced."""
    if mapping is not None:
        return read_user_mapping(mapping)
    if adopted is not None:
        return adopted.source.definition()
    if old is None:
        return None
    found = (api.get_index(old.index) or {}).get(old.index, {})
    return mapping_of_index(old.index, found, old.deployment)


def _existing(api: ClusterApi, index: str) -> Deployment | None:
    meta = (api.get_mapping(index) or {}).get(index, {}).get("mappings", {}).get("_meta", {})
    return Deployment.from_meta(meta, index) if META_KEY in meta else None


def _in_use(api: ClusterApi, alias: str, index: str) -> Generation | None:
    """The other index that serves under the alias; raises :class:`DeploymentConflictError` for a stranger's."""
    try:
        current = read_generations(api, alias).current
    except DeploymentConflictError as problem:
        raise DeploymentConflictError(f"{problem}; or take its documents over (`source`)") from None
    if current is not None:
        return current if current.index != index else None
    if alias in (api.get_mapping(alias) or {}):
        raise DeploymentConflictError(
            f"{alias} is an index and osparse did not make it; choose another `index`, or take its documents over "
            "(`source`)"
        )
    return None


def _mode(facts: Facts, bundle: Bundle, asked: AskedMode, existing: Deployment | None) -> Choice:
    """An index of this bundle that exists decides for "auto"; otherwise the plugins do."""
    if asked == "auto" and existing is not None and existing.fingerprint == bundle.fingerprint:
        return Choice(existing.mode, "the index exists and was made so")
    return choose_mode(facts, asked)
