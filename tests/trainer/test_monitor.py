from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from osparse.cli.main import cli
from osparse.errors import InputError
from osparse.trainer.report.monitor import curve, monitor
from osparse.trainer.report.run_log import RunLog, is_running, sole_process


@pytest.fixture
def run(tmp_path: Path) -> Path:
    log = RunLog(tmp_path / "model.run")
    for step in (1, 11, 20):
        log.write("step", part=1, stage="ranking", step=step, steps=40, lr=0.1, loss=4.0 / step)
    log.write(
        "validation", part=1, stage="ranking", step=20, ndcg=0.5, directions={"ko->en": 0.4321}, nonzeros=99.0, empty=0.0,
        posting_max=0.77,
    )  # fmt: skip
    return tmp_path / "model.run"


def test_the_picture_says_where_the_run_is(run: Path) -> None:
    console = Console(width=150, record=True, file=io.StringIO())
    with sole_process(run):
        monitor(run, once=True, console=console)
    text = console.export_text()
    for word in (
        "ranking",
        "step 20 of 40",
        "loss",
        "0.2",
        "ko->en",
        "0.432",
        "99",
        "left",
        "longest posting list",
        "77% of documents",
        "0.0% of documents",
    ):
        assert word in text, word


def test_a_killed_run_ends_the_monitor(run: Path) -> None:
    """SIGKILL leaves no last line, but frees the lock."""
    code = (
        "import sys, time; from pathlib import Path; from osparse.trainer.report.run_log import sole_process\n"
        "with sole_process(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(run)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        assert is_running(run)
        with pytest.raises(InputError, match="in use by another"), sole_process(run):
            pass
        killer = threading.Timer(0.3, process.kill)
        killer.start()
        console = Console(width=150, record=True, file=io.StringIO())
        assert monitor(run, console=console)[-1]["kind"] == "validation"  # returns
        assert "killed" in console.export_text()


def test_curves() -> None:
    assert curve([1, 2, 3], 10) == "▁▄█" or curve([1, 2, 3], 10) == "▁▅█"
    assert curve([5, 5]) == "▁▁" and curve([]) == ""
    assert len(curve(list(range(1000)), 40)) == 40


def test_a_model_directory_is_not_a_run(run: Path) -> None:
    with pytest.raises(InputError, match="did you mean .*model.run"):
        monitor(run.with_name("model"), once=True)


def test_command_prints_once_and_json(run: Path) -> None:
    shown = CliRunner().invoke(cli, ["monitor", str(run), "--once"])
    assert shown.exit_code == 0 and "step 20 of 40" in shown.output
    rows = json.loads(CliRunner().invoke(cli, ["monitor", str(run), "--json"]).output)["metrics"]
    assert [row["kind"] for row in rows] == ["step"] * 3 + ["validation"]


def test_importing_the_room_and_its_commands_imports_no_torch() -> None:
    code = "import sys, osparse.trainer, osparse.trainer.report.monitor, osparse.cli.commands.train; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_stopped_run_ends_the_monitor_and_half_a_line_is_no_line(run: Path) -> None:
    RunLog(run, keep=lambda row: True).write("stopped")
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind": "st')
    console = Console(width=120, record=True, file=io.StringIO())
    assert monitor(run, console=console)[-1]["kind"] == "stopped"
    assert "`resume=True`" in console.export_text()
    log = RunLog(run, keep=lambda row: row["kind"] == "step")
    log.write("end")
    assert [row["kind"] for row in monitor(run, once=True, console=console)] == ["step", "step", "step", "end"]
