"""Debian package lists: fetched with the machine's own sources into a private folder, and parsed.

Nothing of the machine is touched and no root is needed: apt's state, lists and cache all lie in the given folder, and
hooks that distributions run after an update are cleared.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from osparse.errors import DatasetError
from osparse.io.progress import progress

APT_HELPER = Path("/usr/lib/apt/apt-helper")
SECONDS = 600
"""The longest that fetching may take; the lists are about 21 MB."""
OTHERWISE = "without them, use the sample: osparse corpus build --source jsonl examples/sample_corpus.jsonl"

_CONFIG = """
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::Languages;
Acquire::Languages {{ "ko"; "en"; }};
Acquire::GzipIndexes "false";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Dir::State "{folder}/state";
Dir::State::Lists "{folder}/state/lists";
Dir::Cache "{folder}/cache";
"""
_COMPRESSED = (".lz4", ".zst", ".gz", ".xz", ".bz2", ".lzma")
_LIST = re.compile(r".*(_Packages|_Translation-[a-z]+)")
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9_-]*):[ \t]*(.*)")

log = logging.getLogger("osparse.corpus.apt")
Stanza = dict[str, list[str]]
"""Field name -> its lines; the first is the rest of the field's own line, the others keep their leading space."""


def fetch_lists(folder: Path) -> list[Path]:
    """Run ``apt-get update`` into ``folder`` and return the lists that came.

    A source that fails does not matter as long as the Korean and English descriptions arrived.

    Raises:
        DatasetError: no apt on this system, no network, or no Korean descriptions in its sources.
    """
    apt_get = shutil.which("apt-get")
    if apt_get is None:
        raise DatasetError(f"Debian descriptions need apt-get, which this system does not have; {OTHERWISE}")
    folder.chmod(0o755)  # apt drops to its own user to download
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    config = folder / "apt.conf"
    config.write_text(_CONFIG.format(folder=folder), encoding="utf-8")
    code = _run([apt_get, "update", "-c", str(config)], folder)
    output = (folder / "apt.log").read_text(encoding="utf-8", errors="replace")
    lists = find_lists(folder / "state" / "lists")
    missing = [what for what in ("_Translation-ko", "_Translation-en", "_Packages") if not _of_kind(lists, what)]
    complaints = [line for line in output.splitlines() if line.startswith(("E:", "W:", "Err:"))]
    if missing:
        why = "\n  ".join(complaints[-6:]) or "its sources publish none"
        lacking = ", ".join(kind[1:] for kind in missing)
        raise DatasetError(f"apt-get update (exit code {code}) brought no {lacking} list; {OTHERWISE}\n  {why}")
    for line in complaints:
        log.warning("apt-get: %s", line)
    return lists


def find_lists(folder: Path) -> list[Path]:
    """The package and description lists in a folder laid out as apt's, in name order."""
    lists = [path for path in folder.iterdir() if path.is_file()]
    return sorted(path for path in lists if _LIST.fullmatch(path.name.removesuffix(_suffix(path))))


def _suffix(path: Path) -> str:
    return path.suffix if path.suffix in _COMPRESSED else ""


def _of_kind(lists: Iterable[Path], kind: str) -> list[Path]:
    return [path for path in lists if kind in path.name]


def stanzas(path: Path) -> Iterator[tuple[int, Stanza]]:
    """Yield (line number of its first line, stanza) of one list; empty lines part stanzas.

    Raises:
        DatasetError: a line that is no field, no continuation and not empty; text that is not UTF-8.
    """
    stanza: Stanza = {}
    field, start = "", 0
    for number, line in enumerate(_lines(path), start=1):
        match = _FIELD.fullmatch(line)
        if not line.strip():
            if stanza:
                yield start, stanza
            stanza = {}
        elif line[0] in " \t" and stanza:
            stanza[field].append(line)
        elif match:
            start = start if stanza else number
            field = match[1]
            stanza[field] = [match[2].strip()]
        else:
            raise DatasetError(f"{path}:{number}: not a Debian package list: {line[:80]!r}; {OTHERWISE}")
    if stanza:
        yield start, stanza


def _lines(path: Path) -> Iterator[str]:
    number = 1
    try:
        with _opened(path) as file:
            for line in file:
                yield line.decode("utf-8").rstrip("\r\n")
                number += 1
    except UnicodeDecodeError as problem:
        raise DatasetError(f"{path}:{number}: not UTF-8: {problem}") from None
    except (OSError, subprocess.CalledProcessError) as problem:
        raise DatasetError(f"{path} cannot be read: {problem}") from None


def _opened(path: Path) -> BinaryIO:
    if path.suffix not in _COMPRESSED:
        return path.open("rb")
    return BytesIO(subprocess.run([APT_HELPER, "cat-file", path], capture_output=True, check=True).stdout)


def _run(command: list[str], folder: Path) -> int:
    with (folder / "apt.log").open("wb") as output, progress("fetching package lists", unit="kB") as bar:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        until = time.monotonic() + SECONDS
        try:
            while process.poll() is None:
                if time.monotonic() > until:
                    raise DatasetError(f"apt-get update did not end within {SECONDS} s; {OTHERWISE}")
                time.sleep(0.2)
                bar.advance(max(0, _kilobytes(folder) - bar.done))
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    return process.returncode


def _kilobytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # apt renames its files while we look
            continue
    return total // 1000
