"""What a load is into: one concrete index, what serves there, and how rows become its documents."""

from __future__ import annotations

from dataclasses import dataclass

from osparse.contracts.deployment import Deployment, generated_fields
from osparse.contracts.shards import ShardSet
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.index_settings import pipeline_drift
from osparse.deployer.cluster.inherited_settings import check_source
from osparse.deployer.fields.index_fields import IndexFields
from osparse.deployer.fields.text_rule import settled, with_template_of
from osparse.deployer.load.read_deployment import read_deployment
from osparse.encoders.windows import long_texts
from osparse.errors import ClusterError, InputError
from osparse.rows.row_rules import RowRules
from osparse.rows.text_template import TextTemplate


@dataclass(frozen=True)
class Target:
    """The concrete index that is loaded, what serves there, and how rows become its documents."""

    api: ClusterApi
    index: str
    deployment: Deployment
    rules: RowRules
    fields: IndexFields


def find_target(
    api: ClusterApi, index: str, rules: RowRules | None = None, *, shards: ShardSet | None = None
) -> Target:
    """What is loaded; a template for the text that is new to an empty index is recorded there.

    Args:
        shards: The set that the documents come from, if they have been encoded before.

    Raises:
        ClusterError: not one deployment, its pipelines are not its deployment's (documents would be changed on their
            way, or go unencoded), or it does not keep what it is given.
        InputError: the index makes its texts in another way than the rules or the shards do, or the shards are of
            another bundle.
    """
    mappings = api.get_mapping(index) or {}
    concrete = next(iter(mappings)) if len(mappings) == 1 else index
    deployment = read_deployment(api.cluster, concrete)
    drift = [one for one in pipeline_drift(api, concrete, deployment) if "search" not in one.split()[1]]
    if drift:
        raise ClusterError(
            f"documents loaded into {concrete} would not be encoded by its bundle, or not as they are given: "
            f"{'; '.join(drift)}; run osparse deploy again"
        )
    check_source(concrete, mappings[concrete], tuple(generated_fields(deployment)))
    rules = rules or RowRules()
    if shards is not None:
        _check_shards(shards, concrete, deployment)
    deployment = settled(api, concrete, deployment, rules.template)
    fields = IndexFields(api, concrete, mappings[concrete].get("mappings", {}), generated_fields(deployment))
    return Target(api, concrete, deployment, with_template_of(deployment, rules), fields)


def rules_of_shards(shards: ShardSet) -> RowRules:
    """How the texts of the shards were made."""
    made = shards.first.text_template
    return RowRules(template=TextTemplate.parse(made) if made is not None else None)


def _check_shards(shards: ShardSet, index: str, deployment: Deployment) -> None:
    shards.check_bundle(deployment.bundle, deployment.fingerprint, f"serves in {index}")
    shards.check_long_texts(long_texts(deployment.window_weight), index)
    if shards.first.text_template is None and deployment.text_template is not None:
        raise InputError(
            f"{index} makes its texts with the template {deployment.text_template!r}, and the shards in "
            f"{shards.folder.location} were encoded without it; give `template` to osparse encode"
        )
