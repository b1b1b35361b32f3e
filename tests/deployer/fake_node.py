"""Stands in for ``osparse.deployer.node.process``: the same files and signals, no Java. ``FAKE_NODE`` says how to behave."""

from __future__ import annotations

import http.server
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from typing import Any

from osparse.deployer.node.process import _parse
from osparse.deployer.node.state import NODE_LOCK, ProcessRecord
from osparse.io.locks import acquire

BIND_ERROR = "java.net.BindException: Address already in use"
LOCK_ERROR = "java.lang.IllegalStateException: failed to obtain node locks, tried [...]"


class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "green", "timed_out": false}')


def serve(home: Any, record: ProcessRecord) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if os.environ["FAKE_NODE"] == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    record = replace(record, phase="running", port=server.server_address[1], seconds=0.1)
    record.save(home)
    stop.wait()
    replace(record, phase="stopped").save(home)
    os._exit(0)


def main() -> None:
    options = _parse(None)
    how = os.environ["FAKE_NODE"]
    if how == "dies":
        sys.exit("libfake.so: cannot open shared object file")
    if acquire(options.home / NODE_LOCK, wait=1) is None:
        sys.exit("locked")
    record = ProcessRecord("starting", os.getpid(), options.opensearch, options.java_name)
    record.save(options.home)
    print("so far so good", flush=True)
    if how in ("bind", "locks", "broken"):
        error = {"bind": BIND_ERROR, "locks": LOCK_ERROR, "broken": "java.lang.Error: no such thing"}[how]
        replace(record, phase="failed", error=error).save(options.home)
        sys.exit(3)
    if how == "hangs":
        time.sleep(60)
    serve(options.home, record)


if __name__ == "__main__":
    main()
