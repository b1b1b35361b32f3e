"""One display: nested work has lines of its own, notes stand above it, and a pipe gets plain lines."""

from __future__ import annotations

import io
import logging
import re
import threading
from collections.abc import Iterator

import pytest
from rich.console import Console

from osparse.cli.main import setup_logging
from osparse.io import progress as module
from osparse.io.progress import progress

WIDTH = 100


@pytest.fixture(autouse=True)
def own_logger() -> Iterator[None]:
    logger = logging.getLogger("osparse")
    before = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    written = io.StringIO()
    monkeypatch.setattr(module, "CONSOLE", Console(file=written, force_terminal=True, width=WIDTH, height=30))
    setup_logging({"verbose": False, "quiet": False})
    return written


def screen(written: str) -> list[str]:
    """What a terminal shows: carriage return, line feed, cursor up, erase line; colours and modes are passed over."""
    rows, row, column = [""], 0, 0
    for code, text in re.findall(r"(\x1b\[[0-9;?]*[A-Za-z])|([^\x1b])", written):
        if code.endswith("A"):
            row = max(0, row - int(code[2:-1] or 1))
        elif code.endswith("K"):
            rows[row] = ""
        elif text == "\r":
            column = 0
        elif text == "\n":
            row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
        elif text:
            rows[row] = rows[row].ljust(column)[:column] + text + rows[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in rows if line.strip()]


def test_nested_work_of_another_thread_has_a_line_of_its_own(terminal: io.StringIO) -> None:
    note = "a note that is longer than the terminal is wide: " + "x" * WIDTH
    with progress("index products", 10, "documents") as outer:
        outer.advance(3, "2 failed")

        def fetch() -> None:
            with progress("fetch onnx", 2_000_000, "bytes") as inner:
                inner.advance(1_000_000)
                logging.getLogger("osparse.test").info(note)
                module._DISPLAY._shown.refresh()  # type: ignore[union-attr]
                shown.extend(screen(terminal.getvalue()))

        shown: list[str] = []
        thread = threading.Thread(target=fetch)
        thread.start()
        thread.join()
    assert shown[0] == note and len(shown) == 3
    assert shown[1].startswith("index products") and "3/10 documents" in shown[1] and shown[1].endswith("2 failed")
    assert shown[2].startswith("fetch onnx") and "1.0/2.0 MB" in shown[2]
    after = screen(terminal.getvalue())
    assert after[0] == note and after[1].startswith("index products") and len(after) == 2, "the inner line goes"
    assert module._DISPLAY._shown is None


def test_work_that_ends_in_another_order(terminal: io.StringIO) -> None:
    first, second = progress("first", 1), progress("second", 1)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert module._DISPLAY._shown is not None
    second.__exit__(None, None, None)
    assert module._DISPLAY._shown is None
    with progress("third", 1) as bar:
        bar.advance()
    assert screen(terminal.getvalue())[-1].startswith("third")


def test_an_error_ends_the_display(terminal: io.StringIO) -> None:
    with pytest.raises(RuntimeError), progress("one"), progress("two"):
        raise RuntimeError
    assert module._DISPLAY._shown is None


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging({"verbose": False, "quiet": False})
    long = "[bold]no markup[/bold] :smile: " + "y" * 300
    with progress("outer", 2) as outer:
        logging.getLogger("osparse.test").info("%s", long)
        with progress("inner", 1):
            outer.advance(2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == long and re.fullmatch(r"inner: 0 items in [0-9.]+ s", lines[1])
    assert re.fullmatch(r"outer: 2 items in [0-9.]+ s", lines[2]) and len(lines) == 3


def test_quiet_shows_none(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging({"verbose": False, "quiet": True})
    with progress("outer", 2) as bar:
        bar.advance()
    assert capsys.readouterr().err == ""
