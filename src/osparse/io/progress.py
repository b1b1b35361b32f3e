"""Progress of long work: a rich bar with rate and time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from osparse.io.notebook import Output, in_notebook

PLAIN_SECONDS = 10.0
"""Between two lines where there is no terminal."""
NOTEBOOK_SECONDS = 0.25
"""Between two changes of a notebook's output."""

CONSOLE = Console(stderr=True)
"""The one way to the terminal: two would write over each other."""

log = logging.getLogger("osparse.io.progress")
T = TypeVar("T")


class Bar:
    """One running piece of work; ``advance`` is all a loop needs to call."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self.note = ""
        self.started = self._said = time.monotonic()

    def advance(self, n: int = 1, note: str | None = None) -> None:
        """``note`` is a short state worth seeing, such as a loss or a count of failures."""
        self.done += n
        self.note = self.note if note is None else note
        if time.monotonic() - self._said >= PLAIN_SECONDS:
            self._said = time.monotonic()
            log.info("%s", self.line())

    def line(self) -> str:
        spent = max(time.monotonic() - self.started, 1e-9)
        rate = self.done / spent
        left = f", {(self.total - self.done) / rate:.0f} s left" if self.total is not None and rate > 0 else ""
        speed = f"{rate / 1e6:,.1f} MB/s" if self.unit == "bytes" else f"{rate:,.1f}/s"
        done = _amount(self.done, self.total, self.unit)
        return f"{self.label}: {done}, {speed}{left}{'  ' + self.note if self.note else ''}"


def _amount(done: int, total: int | None, unit: str) -> str:
    if unit == "bytes":
        return f"{done / 1e6:,.1f}{f'/{total / 1e6:,.1f}' if total is not None else ''} MB"
    return f"{done:,}{f'/{total:,}' if total is not None else ''} {unit}"


class _RichBar(Bar):
    def __init__(self, label: str, total: int | None, unit: str, shown: Progress) -> None:
        super().__init__(label, total, unit)
        self._shown = shown
        self.task = shown.add_task(label, total=total, note="", unit=unit)

    def advance(self, n: int = 1, note: str | None = None) -> None:
        self.done += n
        self.note = self.note if note is None else note
        self._shown.update(self.task, advance=n, note=self.note)


class _NotebookBar(Bar):
    """In the output of the running cell, changed a few times a second."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        super().__init__(label, total, unit)
        self._output = Output()

    def advance(self, n: int = 1, note: str | None = None) -> None:
        self.done += n
        self.note = self.note if note is None else note
        if time.monotonic() - self._said >= NOTEBOOK_SECONDS:
            self._said = time.monotonic()
            self._output.show(self.line(), self.done / self.total if self.total else None)

    def finish(self) -> None:
        self._output.show(_finished(self), None)


class _Amount(ProgressColumn):
    """How much is done and how fast, in the task's own unit."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = DownloadColumn(), TransferSpeedColumn()
        self._items = MofNCompleteColumn()

    def render(self, task: Task) -> Text:
        if task.fields["unit"] == "bytes":
            return Text(" ").join(column.render(task) for column in self._bytes)
        speed = Text(f"{task.finished_speed or task.speed or 0:,.1f}/s", style="cyan")
        return Text(" ").join([self._items.render(task), Text(task.fields["unit"]), speed])


class _Display:
    """One live display for all work under way, whichever thread does it: it ends with the last piece."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shown: Progress | None = None
        self._running = 0

    @contextmanager
    def bar(self, label: str, total: int | None, unit: str) -> Iterator[Bar]:
        with self._lock:
            if self._shown is None:
                self._shown = self._started()
            shown, self._running = self._shown, self._running + 1
        bar = _RichBar(label, total, unit, shown)
        try:
            yield bar
        finally:
            with self._lock:
                self._running -= 1
                if self._running:
                    shown.remove_task(bar.task)
                else:
                    self._shown = None
                    shown.stop()

    def _started(self) -> Progress:
        described, note = TextColumn("{task.description}"), TextColumn("{task.fields[note]}")
        shown = Progress(described, BarColumn(), _Amount(), TimeRemainingColumn(), note, console=CONSOLE)
        shown.start()
        return shown


_DISPLAY = _Display()


def note(text: str) -> None:
    """A line on standard error, above the progress where there is any, neither cut nor wrapped."""
    CONSOLE.print(Text(text), soft_wrap=True)


def _heard_in_notebook() -> bool:
    level = logging.getLogger("osparse").level
    return level == logging.NOTSET or level <= logging.INFO


def _finished(bar: Bar) -> str:
    return f"{bar.label}: {_amount(bar.done, None, bar.unit)} in {time.monotonic() - bar.started:.1f} s"


@contextmanager
def progress(label: str, total: int | None = None, unit: str = "items") -> Iterator[Bar]:
    """Show one piece of work on standard error while the block runs; silent when logging is (``--quiet``).

    Blocks may be nested and overlap: each has its line. A notebook shows it in the cell's output, unless the logger
    ``osparse`` was given a level above INFO.
    """
    if in_notebook() and _heard_in_notebook():
        shown = _NotebookBar(label, total, unit)
        try:
            yield shown
        finally:
            shown.finish()
    elif not log.isEnabledFor(logging.INFO):
        yield Bar(label, total, unit)
    elif CONSOLE.is_terminal:
        with _DISPLAY.bar(label, total, unit) as bar:
            yield bar
    else:
        bar = Bar(label, total, unit)
        yield bar
        log.info("%s", _finished(bar))


def track(items: Iterable[T], label: str, total: int | None = None, unit: str = "items") -> Iterator[T]:
    """Iterate with progress; ``total`` is taken from ``len`` where there is one."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress(label, total, unit) as bar:
        for item in items:
            yield item
            bar.advance()
