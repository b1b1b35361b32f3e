"""The ASGI application: ``/encode``, ``/health``, ``/ready`` and ``/metrics``.

It is ready once the encoder is loaded and has given the bundle's first probes their weights.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from osparse.contracts.bundle import Bundle
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.errors import CheckError
from osparse.runtime.processors import cores
from osparse.serving.batcher import Batcher, QueueFullError
from osparse.serving.metrics import Metrics
from osparse.serving.options import OPTIONS_VARIABLE, ServeOptions, read_token
from osparse.serving.request import THROTTLED, RefusedError, check_token, parse, read_body
from osparse.serving.vectors import keyed, vector_encoder

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

log = logging.getLogger("osparse.serving.requests")

PROBES = 4
"""Of the bundle, encoded before the service is ready."""


class Service:
    """What the routes share; made in each worker."""

    def __init__(self, options: ServeOptions, token: str | None) -> None:
        self.options, self.token = options, token
        self.metrics = Metrics(options.metrics_folder)
        self.tokens: tuple[str, ...] = ()
        self.batcher: Batcher | None = None

    async def start(self) -> None:
        """Load the encoder; the port is opened after this."""
        loop = asyncio.get_running_loop()
        encoder = await loop.run_in_executor(None, load_encoder, self.options)
        options = self.options
        self.tokens = encoder.tokens
        encode = vector_encoder(encoder, options.max_batch)
        self.batcher = Batcher(encode, self.metrics, max_batch=options.max_batch, max_queue=options.max_queue)
        self.batcher.start()

    async def stop(self) -> None:
        batcher, self.batcher = self.batcher, None
        if batcher is not None:
            await batcher.stop()

    async def health(self, request: Request) -> Response:
        """The process runs."""
        return _json(200, {"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Texts can be encoded."""
        ready = self.batcher is not None
        return _json(200 if ready else 503, {"status": "ready" if ready else "not ready"})

    async def show_metrics(self, request: Request) -> Response:
        from starlette.responses import PlainTextResponse

        return PlainTextResponse(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def encode(self, request: Request) -> Response:
        """A bare list of vectors, which ML Commons takes as it is."""
        started, said = time.monotonic(), dict[str, Any]()
        self.metrics.add("open_requests", 1)
        status = 500
        try:
            response = await self._answer(request, said)
            status = response.status_code
            return response
        finally:
            seconds = time.monotonic() - started
            self.metrics.add("open_requests", -1)
            self.metrics.answered(status, seconds)
            if self.options.log_requests:
                log.info("encode", extra={"said": {"status": status, "ms": round(seconds * 1000, 1), **said}})

    async def _answer(self, request: Request, said: dict[str, Any]) -> Response:
        try:
            check_token(request.headers.get("authorization"), self.token)
            body = await read_body(request.stream(), request.headers.get("content-length"), self.options.max_body)
            asked = parse(body)
            said |= {"texts": len(asked.texts), "characters": sum(map(len, asked.texts)), "format": asked.form}
            if self.batcher is None:
                raise RefusedError(503, "the encoder is not loaded", THROTTLED)
            vectors = await self.batcher.encode(asked.texts)
            rows = [keyed(vector, self.tokens, asked.form) for vector in vectors]
            return _json(200, rows)
        except QueueFullError:
            reason = f"more than {self.options.max_queue} texts wait for the encoder; send the request again later"
            return _refusal(RefusedError(429, reason, THROTTLED), said)
        except RefusedError as refused:
            return _refusal(refused, said)
        except Exception as problem:  # noqa: BLE001 - of one request; the service goes on
            return _refusal(RefusedError(500, f"the encoder failed ({type(problem).__name__})"), said)


def load_encoder(options: ServeOptions) -> OnnxEncoder:
    """Raises :class:`CheckError` if the encoder does not give the bundle's first probes their weights."""
    bundle = Bundle.open(options.bundle)
    encoder = OnnxEncoder.open(bundle, threads=options.threads or max(1, cores() // options.workers))
    probes = bundle.probes()[:PROBES]
    for probe, weights in zip(probes, encoder.encode([probe.text for probe in probes]), strict=True):
        allowed = max(1e-4, bundle.tolerance)
        far = [t for t in {*weights, *probe.document} if abs(weights.get(t, 0) - probe.document.get(t, 0)) > allowed]
        if far:
            raise CheckError(
                f"the encoder of {options.bundle} gives a probe other weights on this machine than those of its "
                f"probes.jsonl (token {far[0]!r}); check it with: osparse verify {options.bundle}"
            )
    return encoder


def build_app(options: ServeOptions, token: str | None) -> Starlette:
    from starlette.applications import Starlette
    from starlette.routing import Route

    service = Service(options, token)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    routes: dict[str, tuple[str, Callable[[Request], Awaitable[Response]]]] = {
        "/encode": ("POST", service.encode),
        "/health": ("GET", service.health),
        "/ready": ("GET", service.ready),
        "/metrics": ("GET", service.show_metrics),
    }
    made = [Route(path, answer, methods=[method]) for path, (method, answer) in routes.items()]
    return Starlette(routes=made, lifespan=lifespan)


def from_environment() -> Starlette:
    """The application of a worker process."""
    return build_app(ServeOptions.from_json(os.environ[OPTIONS_VARIABLE]), read_token())


def _refusal(refused: RefusedError, said: dict[str, Any]) -> Response:
    said["error"] = refused.reason
    return _json(refused.status, {"error": refused.reason}, refused.headers)


def _json(status: int, value: Any, headers: dict[str, str] | None = None) -> Response:
    from starlette.responses import Response

    # ASCII alone: ML Commons decodes an answer in pieces, and loses a character of several bytes between two of them
    data = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    return Response(data, status, headers, media_type="application/json")
