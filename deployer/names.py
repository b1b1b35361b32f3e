"""What osparse calls the things it makes on a cluster: every name carries the bundle's fingerprint.

Model names become file names on the server, and descriptions do not survive a chunk upload.
"""

from __future__ import annotations

import re

from osparse.bundle import Bundle
from osparse.errors import InputError

BUNDLES_INDEX = "osparse-bundles"
"""Hidden index that holds the bundle parts that other machines encode with."""
_INDEX = re.compile(r"[a-z0-9][a-z0-9._-]*")
_MAX_INDEX = 200
"""Characters; OpenSearch allows 255 bytes and the concrete index adds 13."""


def check_index_name(name: str) -> str:
    """Raises :class:`InputError` for a name OpenSearch would refuse, or that would hide or clash with ours."""
    if not _INDEX.fullmatch(name) or len(name) > _MAX_INDEX or name == BUNDLES_INDEX or ".." in name:
        raise InputError(
            f"{name!r} cannot be an index name here: use a-z 0-9 . _ - (a letter or digit first, at most {_MAX_INDEX} "
            f"characters, not {BUNDLES_INDEX})"
        )
    return name


def concrete_index(alias: str, bundle: Bundle) -> str:
    return f"{alias}-{bundle.short}"


def model_group(bundle: Bundle) -> str:
    return f"osparse-{bundle.name}"


def encoder_model(bundle: Bundle) -> str:
    return f"{bundle.name}-{bundle.short}-encoder"


def tokenizer_model(bundle: Bundle) -> str:
    return f"{bundle.name}-{bundle.short}-tokenizer"


def ingest_pipeline(bundle: Bundle) -> str:
    return f"osparse-{bundle.name}-{bundle.short}-ingest"


def search_pipeline(bundle: Bundle, two_phase: bool = False) -> str:
    """Each variant has its own, so that one index's choice is not another's."""
    return f"osparse-{bundle.name}-{bundle.short}-search{'-2p' if two_phase else ''}"
