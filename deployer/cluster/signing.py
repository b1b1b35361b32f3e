"""AWS Signature Version 4, by botocore: for managed OpenSearch domains (es) and Serverless collections (aoss)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from osparse.errors import InputError
from osparse.plugins.extras import require


class Signer:
    """What opensearch-py's connection calls for the headers of each request.

    Its own signer is not used: it signs a query's spaces as they are sent ("+"), and AWS as "%20".
    """

    def __init__(self, credentials: Any, region: str, service: str) -> None:
        self._credentials, self._region, self._service = credentials, region, service

    def __call__(self, method: str, url: str, body: Any) -> dict[str, str]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        parts = urlsplit(url)
        as_signed = urlunsplit(parts._replace(path=parts.path or "/", query=parts.query.replace("+", "%20")))
        request = AWSRequest(method=method, url=as_signed, data=body)
        signature = SigV4Auth(self._credentials.get_frozen_credentials(), self._service, self._region)
        request.headers["X-Amz-Content-SHA256"] = signature.payload(request)  # Serverless wants it signed too
        signature.add_auth(request)
        return dict(request.headers.items())

    def secrets(self) -> list[str]:
        """What must not be shown."""
        keys = self._credentials.get_frozen_credentials()
        return [keys.secret_key, keys.token or ""]


def signer(region: str, service: str) -> Signer:
    """A signer with the keys that AWS's own tools find: environment, ``~/.aws``, or the machine's role.

    Raises:
        MissingExtraError: botocore is not installed.
        InputError: the region cannot be one, or there are no keys.
    """
    session = require("botocore.session", "aws")
    if not region.replace("-", "").isalnum():
        raise InputError(f"`aws_region` {region!r} is not a region; write it like eu-central-1")
    credentials = session.Session().get_credentials()
    if credentials is None:
        raise InputError(
            "there are no AWS keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN for "
            "temporary ones), or AWS_PROFILE"
        )
    return Signer(credentials, region, service)
