"""Run the service until a signal stops it: one process, or several that share the port."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import socket
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.errors import InputError, OsparseError
from osparse.plugins.extras import require
from osparse.serving.json_log import log_config
from osparse.serving.options import OPTIONS_VARIABLE, TOKEN_VARIABLE, ServeOptions, read_token

log = logging.getLogger("osparse.serving.run")


def serve(options: ServeOptions, *, quiet: bool = False) -> None:
    """Serve the bundle's encoder; returns after SIGINT or SIGTERM, once the requests under way have been answered.

    Raises:
        InputError: an option that cannot be, or the port is taken.
        BundleError: not a bundle, or one without an ONNX part.
        MissingExtraError: the extra ``serve`` is not installed.
        OsparseError: the service stopped because the encoder could not be loaded.
    """
    options.check()
    token = read_token()
    Bundle.open(options.bundle).zip_path("onnx")
    uvicorn = require("uvicorn", "serve")
    require("starlette", "serve")
    _check_address(options)
    config = uvicorn_config(options, quiet=quiet)
    if token is None and not _loopback(options.host):
        log.warning("%s is open to whoever reaches it: set %s to require a bearer token", address(options),
                    TOKEN_VARIABLE)  # fmt: skip
    with ExitStack() as stack:
        if options.workers > 1:
            options = replace(options, metrics_folder=Path(stack.enter_context(tempfile.TemporaryDirectory())))
        before = signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again after a graceful stop
        stack.callback(signal.signal, signal.SIGTERM, before)
        os.environ[OPTIONS_VARIABLE] = options.to_json()
        stack.callback(os.environ.pop, OPTIONS_VARIABLE, None)
        try:
            uvicorn.run("osparse.serving.app:from_environment", **config)
        except SystemExit as ended:
            if ended.code in (0, None):
                return
            raise OsparseError(f"the service stopped with code {ended.code}; the lines above say why") from None
        except KeyboardInterrupt:
            return  # raised again after a graceful stop, as above


def uvicorn_config(options: ServeOptions, *, quiet: bool = False) -> dict[str, Any]:
    """The arguments of ``uvicorn.Config`` beside the application."""
    tls = {"ssl_certfile": options.tls_cert, "ssl_keyfile": options.tls_key} if options.tls_cert is not None else {}
    return {
        "factory": True, "host": options.host, "port": options.port, "workers": options.workers,
        "lifespan": "on", "access_log": False, "server_header": False, "proxy_headers": False, "ws": "none",
        "timeout_keep_alive": 75, "timeout_graceful_shutdown": options.stop_seconds,
        "log_config": log_config(quiet=quiet), **tls,
    }  # fmt: skip


def address(options: ServeOptions) -> str:
    """The URL of ``/encode``."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"http{'s' if options.tls_cert else ''}://{host}:{options.port}/encode"


def _check_address(options: ServeOptions) -> None:
    """Raises :class:`InputError` if nothing can listen there: uvicorn would say so in its log only."""
    try:
        family, _, _, _, place = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as problem:
        raise InputError(
            f"{options.host}:{options.port} cannot be listened on: {problem.strerror or problem}; choose another "
            "`host` or `port`"
        ) from None


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
