"""End the node's process, be sure that it is the node's, and that nothing of it is left."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from pathlib import Path

from osparse.deployer.node.state import LOG_FILE, NODE_LOCK
from osparse.errors import NodeError
from osparse.io.locks import is_held

MODULE = "osparse.deployer.node.process"
"""What a node's command line holds."""
STOP_SECONDS = 20.0
"""Between SIGTERM and SIGKILL."""
KILL_SECONDS = 10.0
REAP_SECONDS = 3.0
"""Until init has cleared away an ended process that is nobody's child; in a container without one it never does."""
POLL_SECONDS = 0.05

log = logging.getLogger("osparse.deployer.node.stop")
children: dict[int, subprocess.Popen[bytes]] = {}
"""Nodes started by this very process: it must reap them."""


def end(home: Path, pid: int | None, grace: float = STOP_SECONDS) -> None:
    """SIGTERM, ``grace`` seconds, SIGKILL: after it no process of the node is left. 0 skips the SIGTERM.

    Raises NodeError if the process is another user's or another machine's, or does not end.
    """
    if pid is None or not _is_node(pid):
        if is_held(home / NODE_LOCK):
            raise NodeError(
                f"{home} is in use, but by no process of this machine that osparse started (a container, another "
                "machine?); stop the node where it was started"
            )
        return
    if not (grace > 0 and _signal(home, pid, signal.SIGTERM, grace)):
        if grace > 0:
            log.warning("the node did not stop within %.0f s and is killed; what it acknowledged is kept", grace)
        if not _signal(home, pid, signal.SIGKILL, KILL_SECONDS):
            raise NodeError(
                f"process {pid} of the node in {home} does not end, not even by SIGKILL; see {home / LOG_FILE}"
            )
    reap(pid)


def forget_ended() -> None:
    """Reap the children of this process that ended unasked, such as a crashed node."""
    for pid in [pid for pid, child in children.items() if child.poll() is not None]:
        reap(pid)


def is_running(pid: int) -> bool:
    """Whether the process exists and has not ended."""
    if (child := children.get(pid)) is not None:
        return child.poll() is None
    if Path("/proc/self").exists():
        return _proc_state(pid) not in (None, "Z", "X")
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _proc_state(pid: int) -> str | None:
    """The state letter of ``/proc/PID/stat``; None if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0].decode()
    except OSError:
        return None


def _signal(home: Path, pid: int, number: signal.Signals, seconds: float) -> bool:
    """Send it and wait; whether the process has ended and freed its lock."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return True
    except PermissionError:
        raise NodeError(f"the node in {home} (process {pid}) belongs to another user, who must stop it") from None
    until = time.monotonic() + seconds
    while is_running(pid) or is_held(home / NODE_LOCK):
        if time.monotonic() > until:
            return False
        time.sleep(POLL_SECONDS)
    return True


def reap(pid: int) -> None:
    """Clear an ended process away: a child by waiting for it, another by giving init the time."""
    if (child := children.pop(pid, None)) is not None:
        if child.stdin is not None:
            child.stdin.close()
        child.wait()
    until = time.monotonic() + REAP_SECONDS
    while _proc_state(pid) == "Z" and time.monotonic() < until:
        time.sleep(POLL_SECONDS)


def _is_node(pid: int) -> bool:
    """Whether the process is a node: its id may be another's by now, or of another machine that shares the home."""
    if pid in children:
        return True
    if not Path("/proc/self").exists():
        return is_running(pid)
    try:
        return MODULE.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
