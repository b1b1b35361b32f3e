"""``osparse serve`` in this process, on a free port, and plain calls to it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from osparse.serving import app, vectors
from osparse.serving.options import ServeOptions
from osparse.serving.run import uvicorn_config


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


class EncoderService:
    """A running service; ``url`` is that of ``/encode``."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.url = f"{address}/encode"

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=30)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): v for name, v in headers.items()})
            answer = connection.getresponse()
            data = answer.read()
            kind = answer.headers.get("content-type", "")
            value = json.loads(data) if kind.startswith("application/json") else data.decode()
            return Reply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, value)
        finally:
            connection.close()

    def encode(self, texts: Any, form: str | None = None, **headers: str) -> Reply:
        body = {"texts": texts, **({"sparse_embedding_format": form} if form else {})}
        return self.call("POST", "/encode", json.dumps(body).encode(), **headers)


@contextmanager
def encoder_service(
    bundle: Path, token: str | None = None, *, slow: Callable[[], object] | None = None, port: int = 0, **options: Any
) -> Iterator[EncoderService]:
    """Args: slow: called before each run of the encoder."""
    import uvicorn

    chosen = ServeOptions(bundle, port=port, threads=1, **options)
    chosen.check()
    settings = {**uvicorn_config(chosen, quiet=True), "factory": False, "log_config": None}
    application = app.build_app(chosen, token)
    server = uvicorn.Server(uvicorn.Config(application, **settings))
    plain = vectors.vector_encoder

    def delayed(*arguments: Any) -> Any:
        encode = plain(*arguments)

        def run(texts: Any) -> Any:
            if slow is not None:
                slow()
            return encode(texts)

        return run

    setattr(app, "vector_encoder", delayed)  # noqa: B010 - not an exported name of that module
    thread = threading.Thread(target=server.run, daemon=True)
    try:
        thread.start()
        until = time.monotonic() + 60
        while not server.started and thread.is_alive() and time.monotonic() < until:
            time.sleep(0.005)
    finally:
        setattr(app, "vector_encoder", plain)  # noqa: B010
    assert server.started, "the service did not start"
    try:
        chosen_port = server.servers[0].sockets[0].getsockname()[1]
        yield EncoderService(f"http://127.0.0.1:{chosen_port}")
    finally:
        server.should_exit = True
        thread.join(60)
