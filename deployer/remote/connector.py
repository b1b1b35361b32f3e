"""The connector of a bundle's encoder: what ML Commons sends, to whom, how many at a time and for how long.

Its name carries a digest of all that but the credential, which the server never shows: equal names, equal connectors.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import EncoderPart
from osparse.deployer import names
from osparse.deployer.remote.sagemaker import (
    EXAMPLE_ROLE,
    SOME_REGION,
    read_credential,
    region_of,
    sagemaker_url,
    signing,
)
from osparse.errors import InputError
from osparse.io.files import fingerprint
from osparse.opensearch_templates import render

TOKEN_VARIABLE = "OSPARSE_SERVE_TOKEN"
"""Holds the bearer token of the encoder, under the name that ``osparse serve`` reads it by."""
BULK = 256
"""Documents of one bulk request, as ``osparse index`` sends them to a remote encoder."""
SENDERS = 2
"""Bulk requests that ``osparse index`` has under way."""
FEWEST_CONNECTIONS, MOST_CONNECTIONS = 16, 256
BATCH = 16
"""Texts of one request, where the deployment names no other number."""


@dataclass(frozen=True)
class Wanted:
    """A connector as it should be."""

    bundle: names.Named
    part: EncoderPart
    endpoint: str
    batch: int
    """Texts of one request."""
    token: str | None = None

    @property
    def prefix(self) -> str:
        """What the names of all connectors of this model begin with."""
        return connector_prefix(self.bundle, self.part)

    @property
    def name(self) -> str:
        return f"{self.prefix}{fingerprint(self._body())[:12]}"

    @property
    def region(self) -> str | None:
        """Of the SageMaker endpoint; None where another service is called."""
        return region_of(self.endpoint)

    def body(self) -> dict[str, Any]:
        """The credential must not be empty, even where nothing uses it.

        Raises:
            InputError: a SageMaker endpoint, and the environment has neither role nor keys.
        """
        credential = {"token": self.token or "none"} if self.region is None else read_credential()
        return {**self._body(), "name": self.name, "credential": credential}

    def _body(self) -> dict[str, Any]:
        has_token = self.token is not None and self.region is None
        body = dict(
            render(
                "connector",
                bundle=self.bundle.name,
                url=self.endpoint,
                max_connection=connections(self.batch),
                headers={"Authorization": "Bearer ${credential.token}"} if has_token else {},
            )
        )
        if self.region is not None:
            own = signing(self.region)
            body |= {**own, "parameters": {**body["parameters"], **own["parameters"]}}
        if self.part == "remote-ids":
            body["parameters"]["sparse_embedding_format"] = "TOKEN_ID"
        return body


def connector_example(bundle: Bundle) -> dict[str, Any]:
    """The body of a connector to a SageMaker endpoint, with ENDPOINT, REGION, ACCOUNT and ROLE to fill in."""
    made = Wanted(bundle, "remote", sagemaker_url("ENDPOINT", SOME_REGION), BATCH)._body()
    body: dict[str, Any] = json.loads(json.dumps(made).replace(SOME_REGION, "REGION"))
    return {**body, "name": f"{bundle.name}-sagemaker", "credential": {"roleArn": EXAMPLE_ROLE}}


def connector_prefix(bundle: names.Named, part: EncoderPart) -> str:
    return f"osparse-{bundle.name}-{bundle.short}-{part}."


def connections(batch: int) -> int:
    """So many that no request of the bulks under way waits for one: a wait of more than 10 seconds is an error."""
    return max(FEWEST_CONNECTIONS, min(MOST_CONNECTIONS, SENDERS * -(-BULK // batch)))


def read_encoder_token() -> str | None:
    """Raises :class:`InputError` for a token that no header can carry."""
    token = os.environ.get(TOKEN_VARIABLE)
    if token is not None and (not token.isascii() or not token.isprintable() or " " in token or not token):
        raise InputError(f"{TOKEN_VARIABLE} must be printable ASCII characters without spaces and not empty")
    return token
