"""Where a cluster is and how it lets us in: the URL, the credentials, TLS. Secrets are never shown.

Credentials come from the environment: OSPARSE_USERNAME and OSPARSE_PASSWORD, or OSPARSE_API_KEY, or OSPARSE_BEARER.
"""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from osparse.errors import InputError

log = logging.getLogger("osparse.deployer.access")

_LOCAL = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class Credentials:
    """One way in; ``repr`` shows its kind only."""

    kind: str
    """"none", "basic", "api key" or "bearer"."""
    _username: str = field(default="", repr=False)
    _secret: str = field(default="", repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Credentials:
        """Read the variables; raises :class:`InputError` for half a pair, or more than one kind at once."""
        env = os.environ if environment is None else environment
        user, password = env.get("OSPARSE_USERNAME", ""), env.get("OSPARSE_PASSWORD", "")
        found = {name: env.get(name, "").strip() for name in ("OSPARSE_API_KEY", "OSPARSE_BEARER")}
        given = [name for name, value in found.items() if value]
        unusable = [name for name in given if not (found[name].isascii() and found[name].isprintable())]
        if unusable:
            raise InputError(f"{unusable[0]} holds characters that no HTTP header may have; set it again")
        if bool(user) != bool(password):
            missing = "OSPARSE_PASSWORD" if user else "OSPARSE_USERNAME"
            raise InputError(f"{missing} is not set, but its partner is; set both, or neither")
        if len(given) + bool(user) > 1:
            names = ", ".join([*given, *(["OSPARSE_USERNAME"] if user else [])])
            raise InputError(f"more than one kind of credentials is set ({names}); keep one")
        if user:
            return cls("basic", user, password)
        if given:
            return cls("api key" if given[0] == "OSPARSE_API_KEY" else "bearer", "", found[given[0]])
        return cls("none")

    def connection_arguments(self) -> dict[str, object]:
        """For opensearch-py's connection."""
        if self.kind == "basic":
            pair = base64.b64encode(f"{self._username}:{self._secret}".encode()).decode("ascii")
            return {"headers": {"authorization": f"Basic {pair}"}}
        if self.kind == "none":
            return {}
        scheme = "ApiKey" if self.kind == "api key" else "Bearer"
        return {"headers": {"authorization": f"{scheme} {self._secret}"}}


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
    parts: SplitResult, credentials: Credentials, ca_file: Path | None, insecure: bool
) -> dict[str, object]:
    """Everything opensearch-py's connection is made from."""
    local = parts.hostname in _LOCAL
    if parts.scheme == "http" and credentials.kind != "none" and not local:
        log.warning("credentials go unencrypted to %s; use https://", parts.hostname)
    if insecure and parts.scheme == "https":
        log.warning("--insecure: the certificate of %s is not checked", parts.hostname)
    useless = [flag for flag, given in (("--ca-file", ca_file is not None), ("--insecure", insecure)) if given]
    if parts.scheme == "http" and useless:
        raise InputError(
            f"{' and '.join(useless)} {'are' if len(useless) > 1 else 'is'} about a certificate, and http:// has none; "
            f"write https://{parts.netloc}, or leave it out"
        )
    if ca_file is not None and not Path(ca_file).is_file():
        raise InputError(f"the CA file {ca_file} does not exist")
    https = parts.scheme == "https"
    tls: dict[str, object] = {"verify_certs": not insecure, "ssl_show_warn": False} if https else {}
    if https and ca_file is not None:
        tls["ca_certs"] = str(ca_file)
    return {
        "host": parts.hostname,
        "port": parts.port or (443 if https else 80),
        "url_prefix": parts.path.strip("/"),
        "use_ssl": https,
        **tls,
        **credentials.connection_arguments(),
    }
