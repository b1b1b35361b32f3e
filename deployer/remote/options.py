"""The choices of mode remote: which address, how many texts in a request, and the connector that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import Deployment, Mode
from osparse.deployer.cluster.facts import Facts
from osparse.deployer.index.layout import Serving
from osparse.deployer.remote.connector import BATCH, Wanted, read_encoder_token
from osparse.deployer.remote.endpoint import encoder_endpoint
from osparse.errors import InputError


def remote_endpoint(mode: Mode, url: str | None, existing: Deployment | None) -> str | None:
    """The encoder's address; None in another mode.

    Args:
        existing: The deployment of the index itself, whose address stays where none is given. That of another bundle
            is no answer: its encoder is that bundle's.

    Raises:
        InputError: mode remote without an address, or an address without it, or one that no connector can call.
    """
    if mode != "remote":
        if url is not None:
            raise InputError(f"`encoder_url` goes with `mode=remote`, and this is mode {mode}; pass `mode=remote`")
        return None
    if url is not None:
        return encoder_endpoint(url)
    if existing is not None and existing.encoder_url is not None:
        return existing.encoder_url
    raise InputError(
        "`mode=remote` needs `encoder_url`: the address of osparse serve with this bundle, as the nodes see it"
    )


def with_remote_batch(
    serving: Serving,
    facts: Facts,
    mode: Mode,
    asked: Serving | Mapping[str, Any] | None,
    before: Deployment | None,
) -> Serving:
    """The options with :data:`BATCH` texts in a request, unless a number was asked for or is in use."""
    named = isinstance(asked, Serving) or "ingest_batch" in (asked or {})
    in_use = before is not None and before.mode == "remote"
    if mode != "remote" or named or in_use or serving.ingest_batch > 1 or not facts.has("ingest_batch"):
        return serving
    return replace(serving, ingest_batch=BATCH)


def wanted_connector(bundle: Bundle, deployment: Deployment) -> Wanted:
    """Raises :class:`InputError` for a token in the environment that no header can carry."""
    url = deployment.encoder_url or ""
    return Wanted(bundle, deployment.encoder_part, url, deployment.ingest_batch, read_encoder_token())
