"""osparse serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from osparse.cli.commands._common import FOLDER, command

EXAMPLES = """
osparse serve build/bundle
osparse serve build/bundle --host 0.0.0.0 --port 8765 --workers 4 --tls-cert server.pem --tls-key server.key
curl -d '{"texts": ["a pear tree"]}' http://127.0.0.1:8765/encode
"""
_PEM = click.Path(path_type=Path)


@command("serve", examples=EXAMPLES)
@click.argument("bundle", type=FOLDER)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=int, default=8765, show_default=True, help="Port to listen on.")
@click.option("--workers", type=int, default=1, show_default=True,
              help="Processes, each with its own encoder and queue.")  # fmt: skip
@click.option("--threads", type=int, help="Threads of one worker; by default the cores divided by the workers.")
@click.option("--max-batch", type=int, default=32, show_default=True,
              help="Texts that are encoded together, of one request or several.")  # fmt: skip
@click.option("--max-queue", type=int, default=1024, show_default=True,
              help="Texts that may wait in one worker; requests beyond it are answered 429.")  # fmt: skip
@click.option("--max-body", type=int, default=10_000_000, show_default=True,
              help="Bytes of a request; longer ones are answered 413.")  # fmt: skip
@click.option("--tls-cert", type=_PEM, metavar="FILE", help="PEM certificate chain: serve https.")
@click.option("--tls-key", type=_PEM, metavar="FILE", help="PEM key of --tls-cert, if not in its file.")
@click.option("--stop-seconds", type=int, default=30, show_default=True,
              help="Time that requests under way have to end after a signal to stop.")  # fmt: skip
def serve_command(bundle: Path, **options: Any) -> None:
    """Serve BUNDLE's encoder over HTTP: POST /encode, GET /health, /ready and /metrics (Prometheus).

    For an OpenSearch cluster that calls it (osparse deploy --mode remote) and for any other client. Log lines are JSON
    on standard error and never hold a text; --quiet leaves one line per request out. With OSPARSE_SERVE_TOKEN in the
    environment, /encode requires it as a bearer token. SIGINT and SIGTERM end it after the requests under way.
    """
    from osparse.serving.options import ServeOptions
    from osparse.serving.run import serve

    quiet = bool(click.get_current_context().find_root().obj["quiet"])
    serve(ServeOptions(bundle, log_requests=not quiet, **options), quiet=quiet)


command = serve_command
