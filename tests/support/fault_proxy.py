"""An HTTP proxy before any server that makes calls fail on purpose: what a network and a busy cluster do to a client.

with fault_proxy(node.url, lambda number, call: Trouble("drop") if number == 7 else None) as proxy:
    deploy(bundle, open_cluster(proxy.url), "products")
proxy.calls          # "GET /", "PUT /_ingest/pipeline/...", ...
"""

from __future__ import annotations

import random
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Literal
from urllib.parse import urlsplit

from local_http import QuietHandler, serving

Kind = Literal["drop", "reset", "lose", "status", "garbage", "slow"]
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Trouble:
    """What happens to one call."""

    kind: Kind
    """drop: closed before anything is sent on; reset: the same with a TCP reset; lose: the server does it, the answer is
    lost; status: answered by the proxy; garbage: half a JSON object with status 200; slow: answered late."""
    status: int = 503
    retry_after: str | None = None
    seconds: float = 0.2
    then: Callable[[], None] | None = None
    """Done before the connection is cut, by drop and lose."""

    def __str__(self) -> str:
        return f"{self.status}" if self.kind == "status" else self.kind


Plan = Callable[[int, str], Trouble | None]
"""Number of the call, from 1, and "METHOD /path" -> what happens to it."""


@dataclass
class FaultProxy:
    target: str
    plan: Plan
    limit: int | None = None
    """Bytes; a larger body is answered 413."""
    url: str = ""
    calls: list[str] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    waited: float = 0.0
    """Seconds the server took for all the calls."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, call: str, size: int) -> Trouble | None:
        with self.lock:
            self.calls.append(call)
            too_large = self.limit is not None and size > self.limit
            trouble = Trouble("status", 413) if too_large else self.plan(len(self.calls), call)
            if trouble is not None:
                self.struck.append(f"{trouble} {call}")
            return trouble


def at_random(share: float, troubles: list[Trouble], seed: int = 0, matching: str = "") -> Plan:
    """Strikes that share of the calls that the pattern finds; the same seed, the same numbers of them."""
    dice = random.Random(seed)

    def plan(number: int, call: str) -> Trouble | None:
        return dice.choice(troubles) if re.search(matching, call) and dice.random() < share else None

    return plan


class _Handler(QuietHandler):
    proxy: FaultProxy

    def _do(self) -> None:
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        trouble = self.proxy.next(f"{self.command} {urlsplit(self.path).path}", len(data))
        if trouble is not None and trouble.kind in ("drop", "reset"):
            return self._cut(trouble.kind == "reset", trouble.then)
        if trouble is not None and trouble.kind == "status":
            headers = {"retry-after": trouble.retry_after} if trouble.retry_after else {}
            error = b'{"error":{"type":"circuit_breaking_exception","reason":"[parent] Data too large"},"status":%d}'
            return self._reply(trouble.status, headers, error % trouble.status)
        if trouble is not None and trouble.kind == "garbage":
            return self._reply(200, {}, b'{"half": ')
        if trouble is not None and trouble.kind == "slow":
            time.sleep(trouble.seconds)
        started = time.monotonic()
        try:
            status, headers, body = self._forward(data)
        except (OSError, HTTPException):  # the server is down: so is the proxy's answer
            return self._cut(False)
        with self.proxy.lock:
            self.proxy.waited += time.monotonic() - started
        if trouble is not None and trouble.kind == "lose":
            return self._cut(False, trouble.then)
        self._reply(status, headers, body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _do

    def _cut(self, reset: bool, then: Callable[[], None] | None = None) -> None:
        if then is not None:
            then()
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _forward(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(self.proxy.target)
        upstream = HTTPConnection(parts.hostname or "", parts.port, timeout=300)
        try:
            kept = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP | {"host"}}
            upstream.request(self.command, self.path, data or None, kept)
            answer = upstream.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            upstream.close()

    def _reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        kept = {k: v for k, v in headers.items() if k.lower() not in HOP_BY_HOP}
        for name, value in {"content-type": "application/json; charset=UTF-8", **kept}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def fault_proxy(
    target: str, plan: Plan = lambda number, call: None, *, limit: int | None = None
) -> Iterator[FaultProxy]:
    """A running proxy on a free port of 127.0.0.1 before the server at ``target``."""
    proxy = FaultProxy(target, plan, limit)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    with serving(handler) as proxy.url:
        yield proxy
