"""The embedded node: a real OpenSearch on this machine, in a process of its own that outlives the command.

    status = node_up(Path("~/nodes/a").expanduser(), port=9210)
    status.url                      # http://127.0.0.1:9210
    node_down(status.home)

This process imports no Java: it lays out the home, starts :mod:`osparse.deployer.node.process` and reads its files.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from dataclasses import replace
from pathlib import Path

from osparse.deployer.node import start, stop
from osparse.deployer.node.home import START_LOCK, claim_home, lay_out, lock_of
from osparse.deployer.node.state import LOG_FILE, PREVIOUS_LOG, NodeStatus, read_record, read_status
from osparse.errors import InputError
from osparse.io.locks import held
from osparse.io.user_folders import user_folder
from osparse.plugins.extras import check
from osparse.runtime.java import choose_java

DEFAULT_PORT = 9210
DEFAULT_HEAP = "512m"
MINIMUM_HEAP = 256
"""MB; with less, OpenSearch's own caches fill it."""
TURN_SECONDS = 900.0
"""To wait for another ``node up`` on the same home, which may be fetching jars."""

log = logging.getLogger("osparse.deployer.node.node")


def default_home() -> Path:
    """``$XDG_DATA_HOME/osparse/node``, or ``~/.local/share/osparse/node``."""
    return user_folder("data") / "node"


def node_status(home: Path | None = None) -> NodeStatus:
    """The state of the node in ``home``, read from its files in a few milliseconds.

    Raises InputError when ``home`` is a file, NodeError when it cannot be read.
    """
    home = _absolute(home)
    with start.explained(home):
        _require_folder(home)
        return read_status(home)


def node_up(
    home: Path | None = None,
    port: int = DEFAULT_PORT,
    heap: str = DEFAULT_HEAP,
    *,
    offline: bool = False,
    tied: bool = False,
    version: str | None = None,
) -> NodeStatus:
    """Start the node in ``home``, or return the one that runs there; back when it answers and its indices are open.

    ``port``: HTTP on 127.0.0.1, 0 for any free one. ``heap``: of Java, such as 512m or 2g. ``offline``: fetch nothing.
    ``tied``: the node stops when this process ends, however it ends. ``version``: of OpenSearch; None takes the newest
    of which Maven Central has every module. A node that runs already keeps its version.

    Raises InputError (bad port, heap, folder or version), MissingExtraError, NodeError (port in use, jars not to be
    had, no space, a failed or too slow start).
    """
    home = _absolute(home)
    _check(port, heap)
    lock_file = lock_of(version)
    with start.explained(home):
        _require_folder(home)
        if (status := read_status(home)).state == "running":
            return _already(status, port, version)
        claim_home(home)
        with held(home / START_LOCK, TURN_SECONDS, f"another `osparse node up` on {home}"):
            status = read_status(home)
            if status.state == "starting":  # its `up` was interrupted, the process was not
                return start.wait_until_running(home, status.pid, port)
            if status.state == "running":
                return _already(status, port, version)
            if status.state == "crashed":
                log.info("the last node in %s had crashed; starting it again", home)
            return _start(home, port, heap, offline, tied, lock_file)


def node_logs(home: Path | None = None, lines: int = 50, *, previous: bool = False) -> str:
    """The last lines of the node's log, or of the run before it. Raises InputError if there is none."""
    home = _absolute(home)
    path = home / (PREVIOUS_LOG if previous else LOG_FILE)
    with start.explained(home):
        _require_folder(home)
        if not path.is_file():
            ran = "ran before the last one" if previous else "was started"
            raise InputError(f"there is no {path}: no node {ran} in {home}; start one: osparse node up --home {home}")
        with path.open("r", encoding="utf-8", errors="replace") as file:
            return "".join(deque(file, lines))


def node_down(home: Path | None = None) -> NodeStatus:
    """Stop the node in ``home`` and leave no process; its data stays. Succeeds when none runs.

    Raises InputError when ``home`` is a file, NodeError when the process is another user's or another machine's.
    """
    home = _absolute(home)
    with start.explained(home):
        _require_folder(home)
        if read_status(home).state in ("running", "starting"):
            running = read_record(home)
            stop.end(home, None if running is None else running.pid)
        stop.forget_ended()
        record = read_record(home)
        if record is not None and record.phase != "stopped":  # killed or crashed: said once, and done with
            replace(record, phase="stopped", port=None, error=None).save(home)
        return read_status(home)


def _require_folder(home: Path) -> None:
    """What is there must be a folder; nothing there is a node that was never started."""
    there = next((place for place in (home, *home.parents) if place.exists()), home)
    if there.exists() and not there.is_dir():
        raise InputError(f"{there} is a file, not a folder; give the node another `home`")


def _absolute(home: Path | None) -> Path:
    return (default_home() if home is None else home.expanduser()).absolute()


def _check(port: int, heap: str) -> None:
    if not 0 <= port <= 65535:
        raise InputError(f"`port` must be 1 to 65535, or 0 for any free one, got {port}")
    size = re.fullmatch(r"(\d+)([mg])", heap.lower())
    if size is None or int(size[1]) * (1024 if size[2] == "g" else 1) < MINIMUM_HEAP:
        raise InputError(f"`heap` must be a size of at least {MINIMUM_HEAP}m, such as 512m or 2g, got {heap!r}")


def _already(status: NodeStatus, port: int, version: str | None) -> NodeStatus:
    log.info("the node in %s is running already (process %s, %s)", status.home, status.pid, status.url)
    if port not in (0, DEFAULT_PORT, status.port):
        log.info("to move it to port %d: osparse node down, then osparse node up --port %d", port, port)
    if version not in (None, status.version):
        log.warning(
            "it runs OpenSearch %s, not %s; to change that: osparse node down, then osparse node up --version %s",
            status.version,
            version,
            version,
        )
    return status


def _start(home: Path, port: int, heap: str, offline: bool, tied: bool, lock_file: Path) -> NodeStatus:
    check("jpype", "node")
    java = choose_java()
    start.require_free_port(port)
    version = lay_out(home, patch_thai=java.bundled, offline=offline, lock_file=lock_file)
    log.info("starting OpenSearch %s on %s", version, java)
    if java.bundled:
        log.info(
            "note: this Java has no Thai dictionary, so Thai text is split by general rules; "
            "other languages are not affected"
        )
    pid = start.spawn(home, port, heap, java, version, tied=tied)
    return start.wait_until_running(home, pid, port)
