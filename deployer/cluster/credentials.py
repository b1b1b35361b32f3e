"""Where a cluster is and how it lets us in: the URL, the credentials, TLS. Secrets are never shown.

Credentials come from the environment (OSPARSE_USERNAME and OSPARSE_PASSWORD, or OSPARSE_API_KEY, or OSPARSE_BEARER),
from a prompt, or from a profile (:mod:`osparse.deployer.cluster.profiles`); never from an argument of a command.
"""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from osparse.errors import InputError

log = logging.getLogger("osparse.deployer.cluster.credentials")

SECRETS = ("username", "password", "api_key", "bearer")
SERVERLESS = "aoss"
AWS_SERVICES = ("es", SERVERLESS)
_LOCAL = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class Credentials:
    """One way in; ``repr`` shows its kind only."""

    kind: str
    """"none", "basic", "api key", "bearer" or "aws signature"."""
    service: str = ""
    """With "aws signature": es or aoss."""
    _username: str = field(default="", repr=False)
    _secret: str = field(default="", repr=False)
    _signer: Any = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Credentials:
        """Read the variables; raises :class:`InputError` for half a pair, or more than one kind at once."""
        env = os.environ if environment is None else environment
        return cls.choose({name: env.get(f"OSPARSE_{name.upper()}", "") for name in SECRETS}, "OSPARSE_{}", str.upper)

    @classmethod
    def choose(cls, found: Mapping[str, str], shown: str = "{}", cased: Callable[[str], str] = str) -> Credentials:
        """The one way in among username and password, api_key, bearer.

        Args:
            found: Value by name; an empty one is not set.
            shown: How a name is written in a message.

        Raises:
            InputError: half a pair, more than one kind, or characters that no HTTP header may have.
        """

        def name(key: str) -> str:
            return shown.format(cased(key))

        user, password = found.get("username", ""), found.get("password", "")
        tokens = {key: found.get(key, "").strip() for key in ("api_key", "bearer")}
        given = [key for key, value in tokens.items() if value]
        unusable = [key for key in given if not (tokens[key].isascii() and tokens[key].isprintable())]
        if unusable:
            raise InputError(f"{name(unusable[0])} holds characters that no HTTP header may have; set it again")
        if bool(user) != bool(password):
            missing = "password" if user else "username"
            raise InputError(f"{name(missing)} is not set, but its partner is; set both, or neither")
        if len(given) + bool(user) > 1:
            names = ", ".join(name(key) for key in [*given, *(["username"] if user else [])])
            raise InputError(f"more than one kind of credentials is set ({names}); keep one")
        if user:
            return cls("basic", _username=user, _secret=password)
        if given:
            return cls("api key" if given[0] == "api_key" else "bearer", _secret=tokens[given[0]])
        return cls("none")

    @classmethod
    def aws(cls, region: str, service: str) -> Credentials:
        """Every request signed with AWS Signature Version 4, by the keys AWS's own tools would use.

        Raises:
            InputError: the service is neither es nor aoss, or there are no keys.
            MissingExtraError: botocore is not installed (extra ``aws``).
        """
        from osparse.deployer.cluster.signing import signer

        if service not in AWS_SERVICES:
            raise InputError(f"AWS service {service!r} is neither es (a managed domain) nor aoss (Serverless)")
        return cls("aws signature", service, _signer=signer(region, service))

    def connection_arguments(self) -> dict[str, object]:
        """For opensearch-py's connection."""
        if self.kind == "aws signature":
            return {"http_auth": self._signer}
        if self.kind == "basic":
            return {"headers": {"authorization": f"Basic {self._pair()}"}}
        if self.kind == "none":
            return {}
        scheme = "ApiKey" if self.kind == "api key" else "Bearer"
        return {"headers": {"authorization": f"{scheme} {self._secret}"}}

    def hide(self, text: str) -> str:
        """The text without these secrets: a server may repeat what it was sent."""
        secrets = [self._secret, self._pair() if self.kind == "basic" else ""]
        secrets += self._signer.secrets() if self._signer is not None else []
        for secret in secrets:
            text = text.replace(secret, "***") if secret else text
        return text

    def _pair(self) -> str:
        return base64.b64encode(f"{self._username}:{self._secret}".encode()).decode("ascii")


def check_url(url: str) -> SplitResult:
    """Split a cluster's URL; raises :class:`InputError` for one that cannot be used, never repeating a password."""
    try:
        parts = urlsplit(url.strip().rstrip("/"))
        secret = parts.username is not None or parts.password is not None or "@" in parts.netloc
    except ValueError:
        raise InputError("the cluster's URL cannot be read; write it like http://localhost:9200") from None
    if secret or "@" in url:
        raise InputError(
            "the cluster's URL holds a user name or password; leave them out and set OSPARSE_USERNAME and "
            "OSPARSE_PASSWORD in the environment"
        )
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise InputError(f"{url!r} is not a cluster's URL; write it like http://localhost:9200 or https://host:443")
    return parts


def connection_arguments(
    parts: SplitResult,
    credentials: Credentials,
    ca_file: Path | None,
    insecure: bool,
    client_cert: Path | None = None,
    client_key: Path | None = None,
) -> dict[str, object]:
    """Everything opensearch-py's connection is made from.

    Raises:
        InputError: files that are not there, a key without a certificate, or TLS options for http://.
    """
    local = parts.hostname in _LOCAL
    if parts.scheme == "http" and credentials.kind != "none" and not local:
        log.warning("credentials go unencrypted to %s; use https://", parts.hostname)
    if insecure and parts.scheme == "https":
        log.warning("insecure: the certificate of %s is not checked", parts.hostname)
    only_https = {
        "`ca_file`": ca_file,
        "`insecure`": insecure,
        "`client_cert`": client_cert,
        "`client_key`": client_key,
    }
    useless = [name for name, value in only_https.items() if value]
    if parts.scheme == "http" and useless:
        raise InputError(
            f"{' and '.join(useless)} {'are' if len(useless) > 1 else 'is'} about a certificate, and http:// has none; "
            f"write https://{parts.netloc}, or leave it out"
        )
    if client_key is not None and client_cert is None:
        raise InputError("`client_key` needs `client_cert`; give the certificate too")
    for what, path in (("CA", ca_file), ("client certificate", client_cert), ("client key", client_key)):
        if path is not None and not Path(path).is_file():
            raise InputError(f"the {what} file {path} does not exist")
    https = parts.scheme == "https"
    tls: dict[str, object] = {"verify_certs": not insecure, "ssl_show_warn": False} if https else {}
    if https and ca_file is not None:
        tls["ca_certs"] = str(ca_file)
    if https and client_cert is not None:
        tls |= {"client_cert": str(client_cert), "client_key": str(client_key or client_cert)}
    return {
        "host": parts.hostname,
        "port": parts.port or (443 if https else 80),
        "url_prefix": parts.path.strip("/"),
        "use_ssl": https,
        **tls,
        **credentials.connection_arguments(),
    }
