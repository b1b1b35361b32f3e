"""What osparse calls the things it makes on a cluster: every name carries the bundle's fingerprint.

Model names become file names on the server, and descriptions do not survive a chunk upload.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from osparse.contracts.bundle import Bundle
from osparse.errors import InputError

BUNDLES_INDEX = "osparse-bundles"
"""Hidden index that holds the bundle parts that other machines encode with."""
MODEL_PARTS = ("encoder", "tokenizer", "remote", "remote-ids")
"""What the names of models end with; the last two are encoders that ML Commons calls."""
_INDEX = re.compile(r"[a-z0-9][a-z0-9._-]*")
_MAX_INDEX = 200
"""Characters; OpenSearch allows 255 bytes and the concrete index adds 13."""


def check_index_name(name: str) -> str:
    """Raises :class:`InputError` for a name OpenSearch would refuse, or that would hide or clash with ours."""
    if name.endswith("-previous"):
        raise InputError(
            f"{name!r} ends in -previous, which marks the index before the one in use; choose another name"
        )
    if not _INDEX.fullmatch(name) or len(name) > _MAX_INDEX or name == BUNDLES_INDEX or ".." in name:
        raise InputError(
            f"{name!r} cannot be an index name here: use a-z 0-9 . _ - (a letter or digit first, at most {_MAX_INDEX} "
            f"characters, not {BUNDLES_INDEX})"
        )
    return name


def concrete_index(alias: str, bundle: Bundle) -> str:
    return f"{alias}-{bundle.short}"


def model_group(bundle: Bundle) -> str:
    return group_of(bundle.name)


def group_of(bundle: str) -> str:
    """The model group of every bundle of a name."""
    return f"osparse-{bundle}"


def model_of(bundle: Named, part: str) -> str:
    """The model of a part (:data:`MODEL_PARTS`) of a bundle."""
    return f"{bundle.name}-{bundle.short}-{part}"


class Named(Protocol):
    """A bundle, or what a deployment says of one."""

    @property
    def name(self) -> str: ...

    @property
    def short(self) -> str: ...


@dataclass(frozen=True)
class BundleNames:
    """What a deployment says of its bundle."""

    name: str
    short: str


def ingest_pipeline(bundle: Named, variant: str = "") -> str:
    return f"osparse-{bundle.name}-{bundle.short}-ingest{variant}"


def search_pipeline(bundle: Named, variant: str = "") -> str:
    """Each variant has its own, so that one index's choice is not another's."""
    return f"osparse-{bundle.name}-{bundle.short}-search{variant}"


def fusing_pipeline(index: str) -> str:
    """The search pipeline of hybrid queries under a name: requests name it, so an upgrade leaves its name as it is."""
    return f"osparse-hybrid-{index}"


def pipelines_of(bundle: str, fingerprint: str) -> str:
    """What the names of all pipelines of a bundle begin with, whatever the variant."""
    return f"osparse-{bundle}-{fingerprint[:12]}-"


def baseline_of(index: str) -> str:
    """What the names of the BM25 indices begin with that an evaluation compares ``index`` with."""
    return f"{index}-bm25-"


def bundle_of_group(name: str) -> str | None:
    """The bundle of a model group osparse made; None for any other group."""
    return name.removeprefix("osparse-") if name.startswith("osparse-") else None


def bundle_of_model(name: str) -> tuple[str, str] | None:
    """Bundle name and short fingerprint in the name of a model osparse made; None for any other model."""
    found = re.fullmatch(r"(.+)-([0-9a-f]{12})-(encoder|tokenizer|remote(-ids)?(-trial)?)", name)
    return (found[1], found[2]) if found else None


def bundle_of_pipeline(name: str) -> tuple[str, str] | None:
    """Bundle name and short fingerprint in the name of a pipeline osparse made; None for any other pipeline."""
    found = re.fullmatch(r"osparse-(.+?)-([0-9a-f]{12})-.+", name)
    return (found[1], found[2]) if found else None
