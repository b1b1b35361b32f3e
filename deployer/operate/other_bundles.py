"""The steps for bundles, beside the index's own, that encode further sparse fields."""

from __future__ import annotations

from collections.abc import Iterable

from osparse.contracts.bundle import Bundle
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.load.bundle_store import StoreParts, part_file
from osparse.deployer.mlcommons.api import MLCommons
from osparse.deployer.mlcommons.group_step import ModelGroup
from osparse.deployer.mlcommons.model_steps import ModelCopies, Part, ServedModel, find_copies
from osparse.deployer.plan import OfOtherBundle, Step

PARTS: tuple[Part, ...] = ("encoder", "tokenizer")
"""Of a bundle, those that become models."""


def client_steps(api: ClusterApi, bundles: Iterable[Bundle]) -> list[StoreParts]:
    """Their parts in the cluster; raises :class:`BundleError` for one without an ONNX encoder."""
    steps = []
    for bundle in bundles:
        part_file(bundle, "onnx")
        steps.append(StoreParts(api, bundle, ("tokenizer", "onnx", *seen_part(bundle))))
    return steps


def model_steps(api: ClusterApi, bundles: Iterable[Bundle], via_url: str | None, *, choose_id: bool) -> list[Step]:
    """Their models in ML Commons, and the tokenizer for queries encoded elsewhere."""
    ml, steps = MLCommons(api.cluster), list[Step]()
    for bundle in bundles:
        own: list[Step] = [ModelGroup(ml, bundle)]
        own += [ServedModel(ml, bundle, part, find_copies(ml, bundle, part), via_url, choose_id) for part in PARTS]
        steps += [OfOtherBundle(step, bundle.short) for step in own]
        steps.append(StoreParts(api, bundle, ("tokenizer", *seen_part(bundle))))
    return steps


def copies_of(ml: MLCommons, bundles: Iterable[Bundle]) -> list[ModelCopies]:
    """Their models as they are found."""
    return [find_copies(ml, bundle, part) for bundle in bundles for part in PARTS]


def served_models(steps: Iterable[Step]) -> list[ServedModel]:
    """The steps that bring a model, of the index's own bundle and of others."""
    own = (step.step if isinstance(step, OfOtherBundle) else step for step in steps)
    return [step for step in own if isinstance(step, ServedModel)]


def seen_part(bundle: Bundle) -> tuple[str, ...]:
    """The part that tells an evaluation what the model was trained on, if the bundle has it."""
    return ("seen",) if bundle.seen is not None else ()
