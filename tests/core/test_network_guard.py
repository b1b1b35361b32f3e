"""The guard that keeps tests on this machine refuses, and what end-to-end tests fetch is counted from the lock files."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from local_http import QuietHandler, serving
from network_guard import leaves_this_machine, only_this_machine, planned_downloads

from osparse.runtime.jars import read_lock


@pytest.mark.parametrize(
    ("address", "leaves"),
    [
        (("127.0.0.1", 80), False),
        (("127.8.0.1", 80), False),
        (("::1", 80, 0, 0), False),
        (("localhost", 80), False),
        ("/run/some.socket", False),
        (("192.0.2.1", 443), True),
        (("10.0.0.1", 80), True),
        (("2001:db8::1", 443, 0, 0), True),
        (("fe80::1%eth0", 80, 0, 2), True),
        (("repository.example", 443), True),
    ],
)
def test_what_leaves_this_machine(address: Any, leaves: bool) -> None:
    assert leaves_this_machine(address) is leaves


def test_a_connection_to_another_machine_fails_the_test_even_if_it_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """192.0.2.0/24 is reserved for documentation; the guard refuses before anything is sent."""
    with pytest.raises(AssertionError, match=r"192\.0\.2\.1"), only_this_machine(monkeypatch):
        try:
            socket.create_connection(("192.0.2.1", 443), timeout=1)
        except OSError as refusal:
            assert "another machine" in str(refusal)


def test_a_server_of_this_machine_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(QuietHandler) as url, only_this_machine(monkeypatch):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10).close()


def test_what_is_fetched_is_what_the_cache_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = [["g:a:jar:1", "0" * 64, 1_500_000], ["g:b:jar:1", "0" * 64, 500_000]]
    for name in ("NODE_JARS", "RUNTIME_JARS"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"lib": lock}))
        monkeypatch.setattr(f"network_guard.{name}", tmp_path / f"{name}.json")
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    node, runtime = planned_downloads()
    assert node.startswith("network: 2 of 2 jars of OpenSearch (NODE_JARS.json)") and node.endswith(", 2.0 MB")
    assert "2 of 2 jars of the server's runtime" in runtime and len(read_lock(tmp_path / "NODE_JARS.json")[0]) == 2
