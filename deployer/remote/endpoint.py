"""The URL of an encoder's ``/encode``: what it may be, and what ML Commons must be told before it calls it."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

from osparse.errors import InputError


def encoder_endpoint(url: str) -> str:
    """The URL with ``/encode`` where it has no path; raises :class:`InputError` for one that no connector can call."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    wrong = parts.scheme not in ("http", "https") or not parts.hostname or port == 0
    if wrong or parts.query or parts.fragment or parts.username or re.search(r"\s|\$\{|[\"\\]", url):
        shown = url if not parts.username else "a URL with a user name"
        raise InputError(
            f"`encoder_url` must be http(s)://host[:port][/path], as seen from the cluster's nodes, got {shown!r}"
        )
    return urlunsplit((parts.scheme, parts.netloc, parts.path if parts.path not in ("", "/") else "/encode", "", ""))


def trusted_pattern(endpoint: str) -> str:
    """The regular expression, Java's, of the addresses on the endpoint's host and port."""
    parts = urlsplit(endpoint)
    host = re.sub(r"([.\[\]])", r"\\\1", parts.netloc)
    return f"^{parts.scheme}://{host}/.*$"


def is_trusted(endpoint: str, patterns: Sequence[str]) -> bool:
    """Whether one of the cluster's patterns matches the whole endpoint; one that Python cannot read does not count."""
    for pattern in patterns:
        try:
            if re.fullmatch(pattern, endpoint):
                return True
        except re.error:
            continue
    return False


def is_private(endpoint: str) -> bool:
    """Whether the host is a loopback, private or link-local address, as far as this machine can tell."""
    host = urlsplit(endpoint).hostname or ""
    try:
        found = {str(place[4][0]) for place in socket.getaddrinfo(host, None)}
    except OSError:
        return False  # the nodes may know it; the first prediction will show
    addresses = [ipaddress.ip_address(address.partition("%")[0]) for address in found]
    return any(one.is_private or one.is_loopback or one.is_link_local for one in addresses)
