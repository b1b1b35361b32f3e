"""A SageMaker endpoint on this machine: a process that calls a handler as the PyTorch inference toolkit does."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local_http import QuietHandler, serving

TOOLKIT = """
import importlib, json, sys
folder = sys.argv[1]
sys.path.insert(0, folder + "/code")  # and nothing of osparse
handler = importlib.import_module("inference")
model = handler.model_fn(folder)
for line in sys.stdin:
    request = json.loads(line)
    try:
        data = handler.input_fn(request["body"], request["content_type"])
        said = {"status": 200, "body": handler.output_fn(handler.predict_fn(data, model), "application/json")}
    except Exception as problem:
        said = {"status": 500, "body": str(problem)}
    print(json.dumps({**said, "osparse": "osparse" in sys.modules}), flush=True)
"""


class Endpoint:
    """The unpacked archive in a process of its own."""

    def __init__(self, archive: Path, folder: Path) -> None:
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        command = [sys.executable, "-P", "-c", TOOLKIT, str(folder)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def invoke(self, body: str, content_type: str = "application/json") -> dict[str, Any]:
        """``status``, ``body`` and whether the process has imported ``osparse``."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"body": body, "content_type": content_type}) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate()


@contextmanager
def sagemaker_endpoint(archive: Path, folder: Path) -> Iterator[tuple[Endpoint, str]]:
    """The endpoint and the address of a server whose ``/endpoints/NAME/invocations`` it answers."""
    endpoint = Endpoint(archive, folder)

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            said = endpoint.invoke(body, self.headers["content-type"])
            data = said["body"].encode("utf-8", "surrogatepass")
            self.send_response(said["status"])
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    try:
        with serving(Handler) as url:
            yield endpoint, url
    finally:
        endpoint.close()
