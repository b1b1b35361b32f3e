"""An encoder over HTTP that fails as it is told: every fault that a remote encoder was seen to have."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local_http import QuietHandler, serving

from osparse.encoders.onnx_encoder import OnnxEncoder

THROTTLED = {"x-amzn-ErrorType": "ThrottlingException"}
STATUS = {
    "429": (429, b'{"error": "too many requests"}', {}),
    "throttled": (429, b'{"error": "too many requests"}', THROTTLED),
    "401": (401, b'{"error": "no token"}', {}),
    "500": (500, b'{"error": "encoder crashed"}', {}),
    "503": (503, b'{"error": "overloaded"}', {}),
    "302": (302, b"", {"location": "/other"}),
    "empty": (200, b"", {}),
    "html": (200, b"<html><body>Welcome to nginx!</body></html>", {"content-type": "text/html"}),
}
"""Fault -> what it answers."""


class FaultyEncoder:
    """``fault`` strikes ``times`` calls after the next ``skipped`` ones; ``poison`` every call with a text that holds it."""

    def __init__(self, encoder: OnnxEncoder) -> None:
        self.encoder = encoder
        self.fault, self.times, self.skipped = "", 0, 0
        self.poison = ""
        self.requests: list[dict[str, Any]] = []
        self.url = ""
        self.lock = threading.Lock()

    def strike(self, fault: str, times: int, skipped: int = 0) -> None:
        self.fault, self.times, self.skipped = fault, times, skipped

    def answer(self, handler: QuietHandler, body: dict[str, Any]) -> None:
        with self.lock:
            self.requests.append(body)
            strikes = self.skipped <= 0 and self.times > 0
            self.skipped, self.times = self.skipped - 1, self.times - strikes
            fault = self.fault if strikes else ""
        if self.poison and any(self.poison in text for text in body["texts"]):
            fault = "500"
        vectors: list[Any] = self.encoder.encode(body["texts"])
        if body["sparse_embedding_format"] == "TOKEN_ID":
            ids = {token: str(i) for i, token in enumerate(self.encoder.tokens)}
            vectors = [{ids[token]: weight for token, weight in vector.items()} for vector in vectors]
        if fault == "closed":
            handler.close_connection = True
            return
        if fault == "slow":
            threading.Event().wait(0.3)
        status, data, headers = STATUS.get(fault, (200, json.dumps(_spoilt(fault, vectors)).encode(), {}))
        handler.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(data) + (5000 if fault == "cut" else 0)))
        handler.end_headers()
        handler.wfile.write(data)
        handler.close_connection = fault == "cut"


def _spoilt(fault: str, vectors: list[Any]) -> Any:
    if fault == "too few":
        return vectors[:-1]
    if fault == "zero":
        return [*vectors[:-1], {"pear": 0.0}]
    if fault == "text":
        return [*vectors[:-1], {"pear": "0.5"}]
    return {"data": vectors} if fault == "wrapped" else vectors


@contextmanager
def faulty_encoder(bundle: Path) -> Iterator[FaultyEncoder]:
    state = FaultyEncoder(OnnxEncoder.open(bundle, threads=1))

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            state.answer(self, json.loads(self.rfile.read(int(self.headers["content-length"]))))

    with serving(Handler) as state.url:
        yield state
