"""The files and edits that a "how to add" page shows, applied to a copy of the packages.

A fenced block with ``title="path"`` is a whole file; one of the language ``diff`` changes the file that its title names:
lines with "-" are replaced by those with "+", and the others say where.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import warm_processes

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[tuple[str, str, str]]:
    """(language, path, text) of each block of docs/``page`` that has a title."""
    return BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))


def file_of(page: str, path: str) -> str:
    """The text of the whole file ``path`` that the page shows."""
    (text,) = [text for language, name, text in blocks(page) if name == path and language != "diff"]
    return text


def changed(text: str, edit: str, where: str) -> str:
    """``text`` after the diff ``edit``; its hunks are parted by lines of "..."."""
    for hunk in re.split(r"^\.\.\.\n", edit, flags=re.MULTILINE):
        lines = [(line[:1], line[1:]) for line in hunk.splitlines()]
        before = "".join(f"{line}\n" for sign, line in lines if sign != "+")
        after = "".join(f"{line}\n" for sign, line in lines if sign != "-")
        if text.count(before) != 1:
            raise AssertionError(f"{where}: the page's lines occur {text.count(before)} times, not once:\n{before}")
        text = text.replace(before, after)
    return text


def copy_with(page: str, folder: Path) -> Path:
    """A copy of osparse in ``folder`` with the page's files and edits; to be put on PYTHONPATH.

    What Python compiled is copied too, and holds for the files that no edit changes.
    """
    places = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-dir"]
    parts = {name.partition(".")[2] for name in places} - {""}
    shutil.copytree(
        ROOT / "src" / "osparse", folder / "osparse",
        ignore=lambda at, names: [name for name in names if Path(at, name).is_symlink()],
    )  # fmt: skip
    for part in parts:
        shutil.copytree(ROOT / part, folder / "osparse" / part)
    for language, path, text in blocks(page):
        target = folder / "osparse" / path.removeprefix("src/osparse/")
        if language == "diff":
            target.write_text(changed(target.read_text(encoding="utf-8"), text, f"{page}, {path}"), encoding="utf-8")
        else:
            assert not target.exists(), f"{page}: {path} is there already"
            target.write_text(text, encoding="utf-8")
    return folder


def run_copy(folder: Path, *arguments: str) -> str:
    """Output of ``osparse`` with these arguments, by the copy in ``folder``; an error fails the test that calls."""
    code = "from osparse.cli.main import main; main()"
    number = len([*folder.glob("output-*")])
    environment = {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    program = warm_processes.start(code, arguments, folder / f"output-{number}", cwd=folder, env=environment)
    assert program.wait() == 0, program.stdout + program.stderr
    return program.stdout
