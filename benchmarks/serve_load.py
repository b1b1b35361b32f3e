"""Load on ``osparse serve``: many connections, texts of mixed lengths, every answer compared with the encoder's own.

    python benchmarks/serve_load.py build/bundle --minutes 10
    python benchmarks/serve_load.py build/bundle --minutes 1 --max-batch 1    # without dynamic batching

Starts the service as a process, and ends with one JSON object: requests and texts per second, processor time per text,
wrong answers, refusals, and the service's memory at a tenth of the time, at half of it and at the end.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.encoders.onnx_encoder import OnnxEncoder

LENGTHS = (0, 3, 10, 40, 150, 600)
"""Words of a text."""
TEXTS = 400
"""Different texts; their vectors are computed before, away from the service."""


def main() -> None:
    arguments = parse_arguments()
    texts = make_texts(Bundle.open(arguments.bundle))
    expected = OnnxEncoder.open(arguments.bundle, threads=1).encode(texts)
    port = free_port()
    options = ["--port", str(port), "--threads", str(arguments.threads), "--max-batch", str(arguments.max_batch)]
    command = [sys.executable, "-m", "osparse", "serve", str(arguments.bundle), *options, "--quiet"]
    service = subprocess.Popen(command)
    try:
        wait_until_ready(port)
        result = load(service.pid, port, texts, expected, arguments)
    finally:
        service.terminate()
        service.wait(60)
    print(json.dumps({**result, "exit_code": service.returncode}, indent=1))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--texts-per-request", type=int, default=4, help="Most texts of one request.")
    parser.add_argument("--max-batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def make_texts(bundle: Bundle) -> list[str]:
    """Of the words of the bundle's probes, none of them twice."""
    draw = random.Random(0)
    words = sorted({word for probe in bundle.probes() for word in probe.text.split()})
    return [" ".join(draw.choices(words, k=LENGTHS[i % len(LENGTHS)])) for i in range(TEXTS)]


def load(pid: int, port: int, texts: list[str], expected: list[dict[str, float]], arguments: Any) -> dict[str, Any]:
    seconds = arguments.minutes * 60
    until, cpu = time.monotonic() + seconds, cpu_seconds(pid)
    clients = [Client(port, number, texts, expected, arguments) for number in range(arguments.connections)]
    threads = [threading.Thread(target=client.run, args=(until,)) for client in clients]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 10)
    early = memory(pid)
    time.sleep(seconds * 0.4)
    half = memory(pid)
    for thread in threads:
        thread.join()
    times = sorted(value for client in clients for value in client.seconds)
    statuses = sum((client.statuses for client in clients), Counter[int]())
    count = sum(client.texts_done for client in clients)
    return {
        "seconds": seconds, "connections": arguments.connections, "max_batch": arguments.max_batch,
        "requests": len(times), "texts_per_second": round(count / seconds, 1), "statuses": statuses,
        "cpu_ms_per_text": round((cpu_seconds(pid) - cpu) / max(1, count) * 1000, 2),
        "wrong_answers": sum(client.wrong for client in clients),
        "broken_connections": sum(client.broken for client in clients),
        "p50_ms": round(times[len(times) // 2] * 1000, 1), "p99_ms": round(times[len(times) * 99 // 100] * 1000, 1),
        "batch_size": batch_size(port), "memory_mb_at_a_tenth": early,
        "memory_mb_at_half": half, "memory_mb_at_the_end": memory(pid),
    }  # fmt: skip


class Client:
    """One connection that sends one request after the other and compares every vector."""

    def __init__(
        self, port: int, number: int, texts: list[str], expected: list[dict[str, float]], arguments: Any
    ) -> None:
        self._draw = random.Random(number)
        self._port, self._texts, self._expected = port, texts, expected
        self._most = arguments.texts_per_request
        self.seconds: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.wrong = self.broken = self.texts_done = 0

    def run(self, until: float) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while time.monotonic() < until:
            rows = self._draw.choices(range(len(self._texts)), k=self._draw.randint(1, self._most))
            try:
                self._ask(connection, rows)
            except (OSError, http.client.HTTPException):
                self.broken += 1
                connection.close()
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, rows: list[int]) -> None:
        started = time.monotonic()
        connection.request("POST", "/encode", json.dumps({"texts": [self._texts[i] for i in rows]}).encode())
        answer = connection.getresponse()
        vectors = json.loads(answer.read())
        self.seconds.append(time.monotonic() - started)
        self.statuses[answer.status] += 1
        if answer.status == 200:
            self.texts_done += len(rows)
            self.wrong += vectors != [self._expected[i] for i in rows]


def batch_size(port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    values = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}
    return round(values["osparse_texts_total"] / values["osparse_batches_total"], 2)


def cpu_seconds(pid: int) -> float:
    """Processor time of all its threads: it says what a text costs also where other work shares the cores."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """Resident megabytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(port: int) -> None:
    until = time.monotonic() + 120
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/ready")
            connection.getresponse().read()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    main()
