"""What a node writes about itself into its home, and how anyone reads it back.

``node.lock`` is held by the node's process while it lives; ``node.json`` says how far it came. Together they tell a
running node from one that died, whatever process has its id by now.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from osparse.io.files import pretty_json, write_atomic
from osparse.io.locks import is_held

NODE_LOCK = "node.lock"
STATE_FILE = "node.json"
LOG_FILE = "logs/node.log"
PREVIOUS_LOG = "logs/node.previous.log"
HOST = "127.0.0.1"

State = Literal["running", "starting", "stopped", "crashed"]
Phase = Literal["starting", "running", "stopped", "failed"]
"""What the process itself wrote last."""


@dataclass(frozen=True)
class ProcessRecord:
    """The content of ``node.json``."""

    phase: Phase
    pid: int
    version: str
    java: str
    port: int | None = None
    """HTTP, once bound."""
    seconds: float | None = None
    """From the process's start until HTTP answered."""
    error: str | None = None
    """Root cause of a failed start: Java class and message."""

    def save(self, home: Path) -> None:
        write_atomic(home / STATE_FILE, pretty_json(asdict(self)))


@dataclass(frozen=True)
class NodeStatus:
    """A node as seen from outside; ``pid``, ``port`` and ``url`` are None unless it runs."""

    home: Path
    state: State
    pid: int | None = None
    port: int | None = None
    url: str | None = None
    version: str | None = None
    """Of OpenSearch."""
    java: str | None = None
    seconds: float | None = None
    """Its start took."""
    error: str | None = None
    """Why it crashed, as far as known, with the end of its log."""

    @property
    def log(self) -> Path:
        return self.home / LOG_FILE

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"home": str(self.home), "log": str(self.log)}


def read_record(home: Path) -> ProcessRecord | None:
    try:
        return ProcessRecord(**json.loads((home / STATE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # absent, or not written by this version: the lock still tells
        return None


def read_status(home: Path) -> NodeStatus:
    """The state of the node in ``home``, from its files alone: a few milliseconds, no request."""
    for _ in range(2):  # a start between the two reads would look like a crash
        held = is_held(home / NODE_LOCK)
        record = read_record(home)
        if held or record is None or record.phase in ("stopped", "failed"):
            break
    if record is None:
        return NodeStatus(home, "starting" if held else "stopped")
    seen = NodeStatus(home, "stopped", version=record.version, java=record.java, seconds=record.seconds)
    if held and record.phase == "running":
        return replace(seen, state="running", pid=record.pid, port=record.port, url=f"http://{HOST}:{record.port}")
    if held:
        return replace(seen, state="starting", pid=record.pid)
    if record.phase == "stopped":
        return seen
    cause = record.error or f"process {record.pid} ended without closing the node (killed, or out of memory)"
    return replace(seen, state="crashed", error=f"{cause}\n{log_tail(home)}".rstrip())


def log_tail(home: Path, lines: int = 5) -> str:
    """The last lines of the node's log, indented; empty if there is none."""
    try:
        with (home / LOG_FILE).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 20_000))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(f"  | {line[:300]}" for line in text.splitlines()[-lines:])
