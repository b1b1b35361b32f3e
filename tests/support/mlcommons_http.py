"""The HTTP side of the test server: one handler, and faults that make any call fail on purpose."""

from __future__ import annotations

import base64
import json
import re
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from local_http import QuietHandler
from mlcommons_refusals import Refused


@dataclass
class Fault:
    """What to do instead of answering."""

    kind: str
    """drop (before anything is done), lose (done, the answer is lost), status, garbage, html, slow."""
    calls: range = range(0)
    """Numbers of the calls it strikes, counted from 1."""
    matching: str = ""
    """Or: a pattern of "METHOD /path"; strikes ``times`` times."""
    times: int = 1
    status: int = 503
    retry_after: str | None = None
    struck: int = 0

    def strikes(self, number: int, call: str) -> bool:
        hit = number in self.calls or bool(
            self.matching and re.search(self.matching, call) and self.struck < self.times
        )
        self.struck += hit
        return hit


@dataclass
class Call:
    number: int
    method: str
    path: str
    status: int = 0

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class Request:
    method: str
    query: dict[str, str]
    data: bytes
    parts: tuple[str, ...] = field(default=())

    @property
    def json(self) -> Any:
        return json.loads(self.data) if self.data else {}


class Handler(QuietHandler):
    emulator: Any

    def _do(self) -> None:
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = urlsplit(self.path)
        emulator = self.emulator
        with emulator.lock:
            call = Call(len(emulator.calls) + 1, self.command, parts.path)
            emulator.calls.append(call)
            emulator.headers_seen.append({k.lower(): v for k, v in self.headers.items()})
            fault = next((f for f in emulator.faults if f.strikes(call.number, str(call))), None)
        if fault and fault.kind == "drop":
            self.close_connection = True
            return
        if fault and fault.kind in ("status", "garbage", "html"):
            call.status = fault.status
            return self._fault(fault)
        if fault and fault.kind == "slow":
            time.sleep(0.2)
        refused = self._refused(parts.path)
        kind = self.headers.get("content-type", "")
        if refused is not None:
            status, body = refused
        elif data and kind.split(";")[0] not in ("application/json", "application/x-ndjson"):
            status, body = 406, {"error": f"Content-Type header [{kind}] is not supported", "status": 406}
        else:
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            status, body = emulator.answer(self.command, parts.path, query, kind, data)
        call.status = status
        if fault and fault.kind == "lose":
            self.close_connection = True
            return None
        return self._reply(status, json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"), {})

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _do

    def _refused(self, path: str) -> tuple[int, Any] | None:
        emulator = self.emulator
        given = self.headers.get("authorization", "")
        wanted = emulator.authorization
        if emulator.password:
            wanted = "Basic " + base64.b64encode(":".join(emulator.password).encode()).decode()
        if wanted and given != wanted:
            return 401, {"error": "Unauthorized", "status": 401}
        if emulator.forbidden and re.search(emulator.forbidden, f"{self.command} {path}"):
            reason = "no permissions for [cluster:admin/opensearch/ml] and User [name=u, backend_roles=[]]"
            return 403, Refused(403, "security_exception", reason).body()
        return None

    def _fault(self, fault: Fault) -> None:
        if fault.kind == "status":
            refused = Refused(fault.status, "circuit_breaking_exception", "[parent] Data too large")
            headers = {"retry-after": fault.retry_after} if fault.retry_after else {}
            return self._reply(fault.status, json.dumps(refused.body()).encode(), headers)
        if fault.kind == "garbage":
            return self._reply(200, b'{"half": ', {})
        return self._reply(200, b"<html><body>Welcome to nginx!</body></html>", {"content-type": "text/html"})

    def _reply(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json; charset=UTF-8", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
