"""The encoder as an endpoint of Amazon SageMaker: its URL, and how ML Commons may call it.

A connector to it is signed by AWS: with a role, which Amazon OpenSearch Service takes, or with access keys.
"""

from __future__ import annotations

import os
import re
from typing import Any

from osparse.errors import InputError

ROLE_VARIABLE = "OSPARSE_SAGEMAKER_ROLE"
"""Holds the ARN of the role with which the cluster calls the endpoint."""
KEY_VARIABLES = {
    "access_key": "AWS_ACCESS_KEY_ID",
    "secret_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
}
EXAMPLE_ROLE = "arn:aws:iam::ACCOUNT:role/ROLE"
SOME_REGION = "us-east-1"
_URL = re.compile(
    r"https://runtime\.sagemaker\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/endpoints/[A-Za-z0-9-]+/invocations"
)
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")


def sagemaker_url(endpoint: str, region: str) -> str:
    """The address that ML Commons calls; raises :class:`InputError` for a name or region that cannot be one."""
    if not _NAME.fullmatch(endpoint):
        raise InputError(
            f"`sagemaker_endpoint` must be the name of an endpoint (letters, digits, hyphens), got {endpoint!r}"
        )
    if not _REGION.fullmatch(region):
        raise InputError(f"`region` must be an AWS region such as eu-central-1, got {region!r}")
    suffix = ".cn" if region.startswith("cn-") else ""
    return f"https://runtime.sagemaker.{region}.amazonaws.com{suffix}/endpoints/{endpoint}/invocations"


def region_of(url: str) -> str | None:
    """The region of a SageMaker endpoint's URL; None for any other URL."""
    matched = _URL.fullmatch(url)
    return matched["region"] if matched else None


def signing(region: str) -> dict[str, Any]:
    """What sets the connector of an endpoint apart from one to a plain HTTP service."""
    return {"protocol": "aws_sigv4", "parameters": {"region": region, "service_name": "sagemaker"}}


def read_credential() -> dict[str, str]:
    """The connector's credential from the environment: the role if there is one, else the access keys.

    Raises:
        InputError: neither is set, or what is set as a role is none.
    """
    role = os.environ.get(ROLE_VARIABLE)
    if role is not None:
        if not _ROLE.fullmatch(role):
            raise InputError(f"{ROLE_VARIABLE} must be the ARN of a role (arn:aws:iam::...:role/...), got {role!r}")
        return {"roleArn": role}
    keys = {name: value for name, variable in KEY_VARIABLES.items() if (value := os.environ.get(variable))}
    if not {"access_key", "secret_key"} <= keys.keys():
        raise InputError(
            f"a SageMaker endpoint is called with a role or with keys: set {ROLE_VARIABLE} (Amazon OpenSearch "
            f"Service), or {KEY_VARIABLES['access_key']} and {KEY_VARIABLES['secret_key']}"
        )
    return keys
