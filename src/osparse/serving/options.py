"""What ``osparse serve`` is started with, checked; it reaches the worker processes as JSON in the environment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from osparse.errors import InputError

OPTIONS_VARIABLE = "OSPARSE_SERVE_OPTIONS"
"""Holds the options for worker processes; set by :func:`osparse.serving.run.serve`, never by a user."""
TOKEN_VARIABLE = "OSPARSE_SERVE_TOKEN"
"""Holds the bearer token that ``/encode`` requires; without it ``/encode`` is open to whoever reaches the port."""


@dataclass(frozen=True)
class ServeOptions:
    """The options of one service; the same for all its workers."""

    bundle: Path
    host: str = "127.0.0.1"
    port: int = 8765
    workers: int = 1
    """Processes, each with its own encoder and queue."""
    threads: int | None = None
    """Threads that one worker encodes with; None divides the cores among the workers."""
    max_batch: int = 32
    """Texts that the encoder is given together, of one request or of several."""
    max_queue: int = 1024
    """Texts that wait in one worker; a request beyond that is answered 429."""
    max_body: int = 10_000_000
    """Bytes of a request's body; a longer one is answered 413."""
    tls_cert: Path | None = None
    """PEM certificate chain."""
    tls_key: Path | None = None
    """PEM key of ``tls_cert``; None: it is in the same file."""
    stop_seconds: int = 30
    """How long requests under way may take to end after a signal to stop."""
    log_requests: bool = True
    """Log one JSON line per request."""
    metrics_folder: Path | None = None
    """Where the workers keep their counters for each other; None with one worker."""

    def check(self) -> None:
        """Raises :class:`InputError` naming every value that cannot be."""
        lowest = {"workers": 1, "max_batch": 1, "max_queue": 1, "max_body": 1, "stop_seconds": 0, "port": 0}
        problems = [
            f"`{name}` must be at least {low}, got {getattr(self, name)}"
            for name, low in lowest.items()
            if getattr(self, name) < low
        ]
        if self.port > 65_535:
            problems.append(f"`port` must be at most 65535, got {self.port}")
        if self.threads is not None and self.threads < 1:
            problems.append(f"`threads` must be at least 1, got {self.threads}")
        if self.tls_key is not None and self.tls_cert is None:
            problems.append("`tls_key` goes with `tls_cert`; give the certificate too")
        for name in ("tls_cert", "tls_key"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                problems.append(f"`{name}` must be a PEM file, and {path} is none")
        if problems:
            raise InputError("; ".join(problems))

    def to_json(self) -> str:
        values = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> ServeOptions:
        values: dict[str, Any] = json.loads(text)
        paths = {field.name for field in fields(cls) if "Path" in str(field.type)}
        made: dict[str, Any] = {n: Path(v) if n in paths and v is not None else v for n, v in values.items()}
        return cls(**made)


def read_token(environment: Mapping[str, str] | None = None) -> str | None:
    """The bearer token of the environment; raises :class:`InputError` for one that no request could carry."""
    token = (os.environ if environment is None else environment).get(TOKEN_VARIABLE)
    if token is None:
        return None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(
            f"{TOKEN_VARIABLE} must be printable ASCII characters without spaces and not empty; correct it, or unset "
            "it for a service without a token"
        )
    return token
