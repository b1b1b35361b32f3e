"""The lock file and the fetching, with jgo itself against a repository on this machine. No network."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from jgo.maven import MavenContext, _core

from osparse.deployer.node.home import LOCK_FILE, MODULES, absent_modules, lock_of, opensearch_version
from osparse.errors import MissingExtraError, NodeError
from osparse.io.progress import Bar
from osparse.runtime import jars as jars_module
from osparse.runtime.jars import Jar, fetch_jars, missing_jars, read_lock

CONTENTS = {
    "org.a:one:jar:1.0": b"one" * 9000,
    "org.a:two:jar:linux-x86_64:2.0": b"two" * 10,
    "b:three:jar:3": b"3" * 70_000,
}
JARS = [Jar("lib", name, hashlib.sha256(data).hexdigest(), len(data)) for name, data in CONTENTS.items()]


class Repository:
    """What a Maven repository is to jgo: files by path over HTTP."""

    def __init__(self) -> None:
        self.files = {f"/{jar.cache_path}": CONTENTS[jar.coordinate] for jar in JARS}
        self.asked: Counter[str] = Counter()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked[self.path] += 1
                data = outer.files.get(self.path)
                self.send_response(200 if data is not None else 404)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write(data or b"")

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    made = Repository()
    monkeypatch.setitem(_core.DEFAULT_REMOTE_REPOS, "central", made.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("osparse.runtime.jars.time.sleep", lambda seconds: None)
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def cached(cache: Path) -> set[str]:
    return {str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file() and path.suffix == ".jar"}


def test_the_default_version_has_every_module() -> None:
    jars, _ = read_lock(LOCK_FILE)
    assert opensearch_version(jars) == "3.8.0" and absent_modules(jars) == []


@pytest.mark.parametrize("version", ["3.8.0", "3.9.0"])
def test_the_lock_file_is_whole(version: str) -> None:
    jars, sha = read_lock(lock_of(version))
    assert opensearch_version(jars) == version and len(sha) == 64
    modules = {f"modules/{name}" for name in MODULES} - {f"modules/{name}" for name in absent_modules(jars)}
    assert {jar.folder for jar in jars} == {"lib"} | modules
    own = {jar.parts[3] for jar in jars if jar.parts[0].startswith("org.opensearch")}
    lucene = {jar.parts[3] for jar in jars if jar.parts[0] == "org.apache.lucene"}
    assert own == {version} and len(lucene) == 1
    assert all(len(jar.sha256) == 64 and jar.size > 0 for jar in jars)
    assert len({(jar.folder, jar.name) for jar in jars}) == len(jars)


@pytest.mark.parametrize(
    ("system", "machine", "kept"),
    [("linux", "x86_64", "linux-x86_64"), ("linux", "aarch64", "linux-aarch_64"), ("darwin", "arm64", None)],
)
def test_native_code_of_other_machines_is_left_out(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, kept: str | None
) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert {jar.parts[2] for jar in read_lock(LOCK_FILE)[0]} - {""} == ({kept} if kept else set())


def test_cache_paths_are_jgos_own(tmp_path: Path) -> None:
    context = MavenContext(repo_cache=tmp_path)
    for jar in read_lock(LOCK_FILE)[0]:
        assert context.create_dependency(jar.coordinate + "!").artifact.cached_path == tmp_path / jar.cache_path


def test_fetch_fills_the_cache_once(repository: Repository, tmp_path: Path) -> None:
    fetch_jars(JARS, tmp_path / "m2")
    assert cached(tmp_path / "m2") == {str(jar.cache_path) for jar in JARS}
    assert missing_jars(JARS, tmp_path / "m2") == []
    before = repository.asked.copy()
    fetch_jars(JARS, tmp_path / "m2")
    fetch_jars(JARS, tmp_path / "m2", offline=True)
    assert repository.asked == before


def test_two_that_fetch_at_once_share_the_work(repository: Repository, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: fetch_jars(JARS, tmp_path), range(2)))
    assert missing_jars(JARS, tmp_path) == []
    assert [repository.asked[f"/{jar.cache_path}"] for jar in JARS] == [1, 1, 1]


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: bytes(len(data))], ids=["short", "changed"])
def test_a_damaged_jar_is_fetched_again(
    repository: Repository, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    fetch_jars(JARS, tmp_path)
    victim = tmp_path / JARS[0].cache_path
    victim.write_bytes(damage(victim.read_bytes()))
    assert missing_jars(JARS, tmp_path) == [JARS[0]]
    with pytest.raises(NodeError, match=r"1 of 3 jars .*`offline`"):
        fetch_jars(JARS, tmp_path, offline=True)
    fetch_jars(JARS, tmp_path)
    assert victim.read_bytes() == CONTENTS[JARS[0].coordinate]
    assert repository.asked[f"/{JARS[1].cache_path}"] == 1


def test_an_empty_cache_offline_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match=r"3 of 3 jars .* run once without `offline`"):
        fetch_jars(JARS, tmp_path / "none", offline=True)
    assert not (tmp_path / "none").exists()


def test_wrong_bytes_from_the_repository_never_reach_the_cache(repository: Repository, tmp_path: Path) -> None:
    repository.files[f"/{JARS[0].cache_path}"] = b"evil"
    with pytest.raises(NodeError, match=r"org\.a:one:jar:1\.0: 4 bytes came"):
        fetch_jars(JARS, tmp_path)
    assert str(JARS[0].cache_path) not in cached(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [".osparse.lock"]
    assert repository.asked[f"/{JARS[0].cache_path}"] == jars_module.ATTEMPTS


def test_an_absent_jar_and_an_unreachable_repository(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del repository.files[f"/{JARS[2].cache_path}"]
    with pytest.raises(NodeError, match="the repository does not have it"):
        fetch_jars(JARS, tmp_path)
    monkeypatch.setitem(_core.DEFAULT_REMOTE_REPOS, "central", "http://127.0.0.1:9")
    with pytest.raises(NodeError, match=r"cannot be reached .*REQUESTS_CA_BUNDLE") as caught:
        fetch_jars(JARS, tmp_path)
    assert "127.0.0.1" not in str(caught.value)


def test_progress_ends_at_the_total(
    repository: Repository, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when a jar had to be fetched twice."""
    real = jars_module._download
    tries = Counter[str]()
    told: list[int] = []

    def first_one_fails(jar: Jar, staging: Path, counter: jars_module._Counter) -> Path:
        tries[jar.coordinate] += 1
        done = real(jar, staging, counter)
        if jar is JARS[0] and tries[jar.coordinate] == 1:
            raise OSError("connection lost after the last byte")
        return done

    monkeypatch.setattr(jars_module, "_download", first_one_fails)
    monkeypatch.setattr(Bar, "advance", lambda self, n: told.append(n))
    with caplog.at_level("INFO", logger="osparse"):
        fetch_jars(JARS, tmp_path)
    assert tries[JARS[0].coordinate] == 2
    assert sum(told) == sum(jar.size for jar in JARS) and len(told) > len(JARS)
    assert "fetching 3 jars of OpenSearch (0.1 MB)" in caplog.text


def test_without_jgo_the_pip_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"jgo.*pip install 'osparse\[node\]'"):
        fetch_jars(JARS, tmp_path)
