"""``osparse serve`` as a process: workers that share a port, TLS, a graceful stop, and what ends it at the start."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from osparse.contracts.bundle import Bundle


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(bundle: Path, port: int, *options: str, context: ssl.SSLContext | None = None,
           **environment: str) -> Iterator[subprocess.Popen[str]]:  # fmt: skip
    command = [sys.executable, "-m", "osparse", "serve", str(bundle), "--port", str(port), *options]
    process = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    try:
        while process.poll() is None and time.monotonic() < until:
            try:
                urllib.request.urlopen(
                    f"http{'s' if context else ''}://127.0.0.1:{port}/ready", context=context
                ).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_workers_share_a_port_with_tls_and_a_token_and_stop_on_a_signal(small_bundle: Bundle, tmp_path: Path) -> None:
    key, certificate, port = tmp_path / "key.pem", tmp_path / "cert.pem", free_port()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key), "-out",
         str(certificate), "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    trusting = ssl.create_default_context(cafile=str(certificate))
    options = ("--workers", "2", "--tls-cert", str(certificate), "--tls-key", str(key))
    with served(small_bundle.path, port, *options, context=trusting, OSPARSE_SERVE_TOKEN="s3cret") as process:
        url = f"https://127.0.0.1:{port}"
        for _ in range(20):  # each call is a connection of its own, to either worker
            request = urllib.request.Request(
                f"{url}/encode", b'{"texts": ["pear"]}', {"Authorization": "Bearer s3cret"}
            )
            with urllib.request.urlopen(request, context=trusting) as answer:
                assert len(json.load(answer)) == 1
        with urllib.request.urlopen(f"{url}/metrics", context=trusting) as answer:
            assert b"osparse_texts_total 20\n" in answer.read()
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
    assert process.returncode == 0
    assert all(json.loads(line) for line in log.splitlines()) and "s3cret" not in log


def test_a_request_under_way_is_answered_before_the_end(small_bundle: Bundle) -> None:
    port = free_port()
    with served(small_bundle.path, port) as process:
        body = json.dumps({"texts": ["pear tree " * 200] * 300}).encode()
        with socket.create_connection(("127.0.0.1", port)) as connection:
            head = f"POST /encode HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)
            time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        process.communicate(timeout=30)
    assert answer.startswith(b"HTTP/1.1 200") and len(json.loads(answer.partition(b"\r\n\r\n")[2])) == 300
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [(("--workers", "0"), 2, "--workers must be at least 1"), ((), 2, "cannot be listened on")],
)
def test_what_ends_it_at_the_start_is_said(
    small_bundle: Bundle, options: tuple[str, ...], code: int, words: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "osparse", "serve", str(small_bundle.path), "--port", port, *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == code and words in done.stderr.replace("`", "")
