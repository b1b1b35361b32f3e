"""What the tests do with the network: only those marked ``network`` may leave this machine, to fetch jars."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import pytest

from osparse.deployer.node.home import LOCK_FILE as NODE_JARS
from osparse.packager.checks.djl import LOCK_FILE as RUNTIME_JARS
from osparse.runtime.jars import cache_folder, missing_jars, read_lock


def planned_downloads() -> list[str]:
    """One line for the node and one for the server's runtime: the jars that are not in the local Maven cache yet."""
    lines = []
    for name, lock_file in (("OpenSearch", NODE_JARS), ("the server's runtime", RUNTIME_JARS)):
        jars, _ = read_lock(lock_file)
        missing = missing_jars(jars, cache_folder())
        size = sum(jar.size for jar in missing) / 1e6
        lines.append(
            f"network: {len(missing)} of {len(jars)} jars of {name} ({lock_file.name}) to fetch from Maven Central "
            f"into {cache_folder()}, {size:.1f} MB"
        )
    return lines


def leaves_this_machine(address: Any) -> bool:
    """Whether connecting to ``address``, (host, port, ...) or the path of a Unix socket, needs the network."""
    if not isinstance(address, tuple) or address[0] in ("localhost", ""):
        return False
    try:
        return not ip_address(address[0].partition("%")[0]).is_loopback
    except ValueError:
        return True


@contextmanager
def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse connections of this process to other machines; at the end, fail if there were any."""
    refused: list[Any] = []
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if leaves_this_machine(address):
            refused.append(address)
            raise ConnectionRefusedError(f"{address} is on another machine")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    yield
    assert not refused, f"a test without the mark 'network' connects to other machines: {refused}"
