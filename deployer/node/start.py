"""Start the node's process and wait for it; say in a sentence why it did not work."""

from __future__ import annotations

import errno
import http.client
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from osparse.deployer.node import stop
from osparse.deployer.node.state import (
    HOST,
    LOG_FILE,
    NODE_LOCK,
    PREVIOUS_LOG,
    STATE_FILE,
    NodeStatus,
    log_tail,
    read_record,
    read_status,
)
from osparse.errors import NodeError
from osparse.io.locks import is_held
from osparse.runtime.java import Java

START_SECONDS = 180.0
"""Until the process must answer: 4 s on an idle machine, ten times that on a busy one."""
INDEX_SECONDS = 60
"""Until the indices of an earlier run must be open."""
IGNORED_VARIABLES = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS")
"""OpenSearch's own launcher ignores them too: Java flags meant for other programs do not fit a node."""

log = logging.getLogger("osparse.deployer.node.start")


@contextmanager
def explained(home: Path) -> Iterator[None]:
    """Turn an operating system's refusal into a NodeError with what to do."""
    try:
        yield
    except OSError as error:
        place = error.filename or home
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NodeError(f"no space left at {place}; make room, or put the home elsewhere with `home`") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise NodeError(f"no permission to write {place} ({error.strerror}); choose another `home`") from error
        raise NodeError(f"{place}: {error.strerror or error}") from error


def require_free_port(port: int) -> None:
    """Raise NodeError if something listens on ``port`` already."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does: a closed connection is no obstacle
        try:
            probe.bind((HOST, port))
        except PermissionError:
            raise NodeError(f"port {port} is reserved for the system; choose one above 1023 with `port`") from None
        except OSError:
            raise NodeError(_port_taken(port)) from None


def _port_taken(port: int) -> str:
    return (
        f"port {port} on {HOST} is in use by another process; stop that one (if it is a node: osparse node down "
        "--home ITS_HOME), or choose another port: osparse node up --port N"
    )


def spawn(home: Path, port: int, heap: str, java: Java, version: str, *, tied: bool) -> int:
    """Start the process in a session of its own; its process id. The log of the run before is kept beside."""
    stop.forget_ended()
    (home / STATE_FILE).unlink(missing_ok=True)  # the last run's must not pass for this one's
    log_file = home / LOG_FILE
    if log_file.exists():
        os.replace(log_file, home / PREVIOUS_LOG)
    options = {
        "--home": home,
        "--port": port,
        "--heap": heap,
        "--libjvm": java.library,
        "--java-name": java,
        "--opensearch": version,
    }
    flags = [flag for flag, wanted in (("--thai-patched", java.bundled), ("--tied", tied)) if wanted]
    pairs = [text for key, value in options.items() for text in (key, str(value))]
    with log_file.open("wb") as out:
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", stop.MODULE, *pairs, *flags],
                stdin=subprocess.PIPE if tied else subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=_environment(),
            )
        except OSError as error:
            raise NodeError(f"cannot start a process of {sys.executable}: {error.strerror}") from error
    stop.children[process.pid] = process
    return process.pid


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in IGNORED_VARIABLES}
    return kept | {"LC_ALL": "C.UTF-8"}  # or Java could not open a home whose path is not ASCII


def wait_until_running(home: Path, pid: int | None, port: int) -> NodeStatus:
    """Wait until the node answers and its indices are open. A start that fails, or is interrupted, leaves no process.

    Raises NodeError with the root cause and the end of the log.
    """
    try:
        until = time.monotonic() + START_SECONDS
        while (status := read_status(home)).state != "running" or (pid is not None and status.pid != pid):
            if not _alive(home, pid):
                raise NodeError(_failure(home, pid, port))
            if time.monotonic() > until:
                raise NodeError(
                    f"the node did not answer within {START_SECONDS:.0f} s and was stopped; is the machine very busy, "
                    f"or short of memory? The end of {home / LOG_FILE}:\n{log_tail(home)}"
                )
            time.sleep(stop.POLL_SECONDS)
        _wait_for_indices(status)
    except BaseException:
        if is_held(home / NODE_LOCK) or (pid is not None and stop.is_running(pid)):
            stop.end(home, pid, grace=0.0)
        elif pid is not None:
            stop.reap(pid)
        raise
    return status


def _alive(home: Path, pid: int | None) -> bool:
    """Whether the process still tries; one just spawned does not hold its lock yet."""
    return (pid is not None and stop.is_running(pid)) or is_held(home / NODE_LOCK)


def _failure(home: Path, pid: int | None, port: int) -> str:
    record = read_record(home)
    cause = record.error if record is not None and record.phase == "failed" and pid in (None, record.pid) else None
    if cause is not None and "BindException" in cause:
        return _port_taken(port)
    if cause is not None and "failed to obtain node locks" in cause:
        return (
            f"another OpenSearch uses the data in {home}; stop it (osparse node down --home {home}), "
            "or choose another `home`"
        )
    said = cause or "its process ended before it was up (killed, or short of memory?)"
    return f"the node did not start: {said}\nThe end of {home / LOG_FILE}:\n{log_tail(home)}"


def _wait_for_indices(status: NodeStatus) -> None:
    """After a restart the shards open one by one; a query before that would fail."""
    path = f"/_cluster/health?wait_for_status=yellow&wait_for_no_initializing_shards=true&timeout={INDEX_SECONDS}s"
    connection = http.client.HTTPConnection(HOST, status.port, timeout=INDEX_SECONDS + 10)
    try:
        connection.request("GET", path)
        health: dict[str, Any] = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NodeError(f"the node started but does not answer at {status.url}: {error}; see {status.log}") from error
    finally:
        connection.close()
    if health.get("timed_out"):
        log.warning("some indices of %s did not open within %d s; see %s", status.home, INDEX_SECONDS, status.log)
