"""Files and folders that are whole or not there: what may be replaced, what comes back, and wrong kinds of path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from osparse.errors import InputError
from osparse.io.files import atomic_directory, read_json, read_jsonl, write_atomic


def write(target: Path, text: str, *, overwrite: bool = True) -> None:
    with atomic_directory(target, marker="mark.json", overwrite=overwrite) as folder:
        (folder / "mark.json").write_text(text)


def test_overwrite_replaces_its_own_kind_only(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    write(home, "one", overwrite=False)  # an empty folder is nobody's
    with pytest.raises(InputError, match=r"exists and is not empty; choose another `output`, or pass `overwrite=True`"):
        write(home, "two", overwrite=False)
    write(home, "two")
    assert (home / "mark.json").read_text() == "two"
    (home / "mark.json").rename(home / "thesis.txt")
    with pytest.raises(InputError, match=r"holds something else \(it has no mark.json\)"):
        write(home, "three")
    assert (home / "thesis.txt").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_what_was_there_comes_back_if_the_new_cannot_be_moved_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, rename, calls = tmp_path / "out", os.replace, []

    def second_fails(source: Any, goal: Any) -> None:
        calls.append(goal)
        if len(calls) == 2:
            raise OSError(16, "Device or resource busy")
        rename(source, goal)

    write(target, "one")
    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(InputError, match="cannot write .*out: .*busy; nothing was left there"):
        write(target, "two")
    assert (target / "mark.json").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_path_of_the_wrong_kind_is_named(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("mine")
    folder.mkdir()
    with pytest.raises(InputError, match="file is a file, and a folder is to be written there"):
        write(file, "x")
    for target in (file / "below", file / "far" / "below"):
        with pytest.raises(InputError, match=f"cannot write {target}"):
            write(target, "x")
        with pytest.raises(InputError, match=f"cannot write {target}"):
            write_atomic(target, "x")
    with pytest.raises(InputError, match=f"cannot write {folder}: .*Is a directory"):
        write_atomic(folder, "x")
    with pytest.raises(InputError, match=f"{folder} cannot be read: Is a directory"):
        read_json(folder)
    with pytest.raises(InputError, match=f"{file}/x cannot be read: Not a directory"):
        read_json(file / "x")
    with pytest.raises(InputError, match=f"{folder} is not a file"):
        list(read_jsonl(folder))
    assert file.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_a_number_that_is_no_finite_one_is_named_with_its_line(number: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"score": 1e30}}\n{{"score": {number}}}\n')
    with pytest.raises(InputError, match=rf"rows.jsonl:2: not JSON: .*{number.strip('-')}"):
        list(read_jsonl(path))


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_what_is_new_obeys_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "file", "x")
        write(tmp_path / "folder", "x")
    finally:
        os.umask(before)
    assert mode(tmp_path / "file") == mode(tmp_path / "folder" / "mark.json") == 0o666 & ~umask
    assert mode(tmp_path / "folder") == 0o777 & ~umask


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o755])
def test_what_is_replaced_keeps_its_mode(kept: int, tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("old")
    file.chmod(kept)
    write(folder, "old")
    folder.chmod(kept | 0o100)
    write_atomic(file, "new")
    write(folder, "new")
    assert (mode(file), file.read_text()) == (kept, "new")
    assert (mode(folder), (folder / "mark.json").read_text()) == (kept | 0o100, "new")


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    for name, make in (("file", lambda path: path.write_text("old")), ("folder", lambda path: write(path, "old"))):
        make(tmp_path / "disk" / name)
        (tmp_path / name).symlink_to(Path("disk") / name)
    (tmp_path / "later").symlink_to(Path("disk") / "later")
    write_atomic(tmp_path / "file", "new")
    write_atomic(tmp_path / "later", "new")
    write(tmp_path / "folder", "new")
    assert all((tmp_path / name).is_symlink() for name in ("file", "folder", "later"))
    for path in ("file", "later", "folder/mark.json"):
        assert (tmp_path / "disk" / path).read_text() == "new"
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == ["file", "folder", "later"]
