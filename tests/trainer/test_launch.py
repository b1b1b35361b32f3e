"""Several processes by one command, interrupted as a person does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from osparse.contracts.dataset import Dataset
from osparse.trainer.compute import signals
from osparse.trainer.compute.launch import launch


def test_two_signals_of_one_ctrl_c_are_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(signals, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with signals.stop_signals() as stopped:
        os.kill(os.getpid(), signal.SIGINT)  # of the terminal
        now[0] += 0.3
        os.kill(os.getpid(), signal.SIGINT)  # of the launcher
        assert stopped.wait(5)
        now[0] += signals.SAME_REQUEST
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(5)


def test_an_interrupted_launcher_ends_like_an_interrupted_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

    asked: list[list[str]] = []

    def interrupted(arguments: list[str]) -> None:
        asked.append(arguments)
        raise SignalException("Process 1 got signal: 2", sigval=signal.SIGINT)

    def failed(arguments: list[str]) -> None:
        raise ChildFailedError("osparse", {0: ProcessFailure(local_rank=0, pid=1, exitcode=2, error_file="<N/A>")})

    monkeypatch.setattr(run, "main", interrupted)
    with pytest.raises(KeyboardInterrupt):
        launch(3, ["train", "x"])
    assert asked[0] == ["--standalone", "--nproc-per-node", "3", "-m", "osparse", "train", "x"]
    monkeypatch.setattr(run, "main", failed)
    assert launch(3, []) == 2
    monkeypatch.setattr(run, "main", lambda arguments: None)
    assert launch(3, []) == 0


def test_ctrl_c_in_several_processes_leaves_a_checkpoint_and_no_traceback(
    yaml: Path, dataset: Dataset, tmp_path: Path
) -> None:
    output, log = tmp_path / "model", tmp_path / "model.run" / "metrics.jsonl"
    command = [
        sys.executable,
        "-m",
        "osparse",
        "train",
        str(yaml),
        "--dataset",
        str(dataset.path),
        "--output",
        str(output),
    ]
    command += ["--processes", "2", "--set", "stages.mlm.steps=100000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 300
        while not (log.is_file() and '"step"' in log.read_text(encoding="utf-8")):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1][-3000:]
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        shown, told = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process.returncode == 130, told
    assert "Traceback" not in told + shown and "osparse: stopped" in told
    assert list((tmp_path / "model.run" / "checkpoint").glob("*/state.json"))
