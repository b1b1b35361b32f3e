"""What an adoption finds before anything is made, and the steps that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

from osparse.deployer.adopt.changes import changes_of
from osparse.deployer.adopt.encode_later import EncodedLater
from osparse.deployer.adopt.follow import Follower
from osparse.deployer.adopt.name import ServedName, Standing, standing_of
from osparse.deployer.adopt.source_index import Adoption, SourceIndex, read_source
from osparse.deployer.adopt.steps import AdoptedDocuments, AdoptionSwitch, ReleasedSource
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.index.gate import GateChecks
from osparse.deployer.plan import Step


@dataclass(frozen=True)
class Adopted:
    """The source as it was found, and what stands under the name."""

    adoption: Adoption
    source: SourceIndex
    standing: Standing


def survey_adoption(api: ClusterApi, alias: str, new: str, adoption: Adoption) -> Adopted | None:
    """Look at the source and the name; None where the new index serves under it already.

    Raises:
        InputError, DeploymentConflictError, ClusterError: the source cannot be adopted, or the name is another's.
    """
    if api.indices_of_alias(alias) == [new]:
        return None
    source = read_source(api, adoption)
    changes_of(source.api, source.index, adoption.changed_field, source.mappings, [])
    return Adopted(adoption, source, standing_of(api, alias, source, replace_index=adoption.replace_index))


def adoption_steps(adopted: Adopted | None, checks: GateChecks, carry_aliases: bool) -> list[Step]:
    """Fill the new index and move the name; where that is done, see that nothing was left half."""
    if adopted is None:
        released = ReleasedSource(checks.api, checks.new)
        ours = checks.deployment.mode == "client"
        return [released, EncodedLater(checks.api, checks.new, checks.deployment)] if ours else [released]
    source, field = adopted.source, adopted.adoption.changed_field
    changes = changes_of(source.api, source.index, field, source.mappings, source.left_behind)
    follower = Follower(checks.api, source, checks.new, checks.deployment, changes, field)
    name = ServedName(checks.api, checks.alias, checks.new, source, adopted.standing, carry_aliases)
    return [AdoptedDocuments(follower), AdoptionSwitch(follower, name, checks)]
