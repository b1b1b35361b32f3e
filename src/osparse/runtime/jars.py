"""Jars from Maven Central: named by a lock file, fetched into the local Maven cache, checked by us.

jgo neither enforces checksums nor writes atomically, so each jar is fetched into a staging folder beside the cache,
its size and sha256 are compared with the lock file, and only then is it renamed into the cache.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from osparse.errors import NodeError
from osparse.io.files import sha256_file
from osparse.io.locks import held
from osparse.plugins.extras import require

WORKERS = 4
ATTEMPTS = 3
TIMEOUT_SECONDS = 60
"""Without a byte from the repository."""
WAIT_SECONDS = 600.0
"""For another process that is filling the same cache."""

log = logging.getLogger("osparse.runtime.jars")


@dataclass(frozen=True)
class Jar:
    """One row of the lock file."""

    folder: str
    """The group of the lock file it stands in; in a node's home ``lib`` or ``modules/<name>``."""
    coordinate: str
    """``group:artifact:jar[:classifier]:version``"""
    sha256: str
    size: int
    """Bytes."""

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """(group, artifact, classifier, version)"""
        group, artifact, _, *classifier, version = self.coordinate.split(":")
        return group, artifact, classifier[0] if classifier else "", version

    @property
    def name(self) -> str:
        _, artifact, classifier, version = self.parts
        return f"{artifact}-{version}{f'-{classifier}' if classifier else ''}.jar"

    @property
    def cache_path(self) -> Path:
        """Relative to the cache, as Maven lays it out."""
        group, artifact, _, version = self.parts
        return Path(*group.split("."), artifact, version, self.name)

    def is_at(self, path: Path) -> bool:
        return path.is_file() and path.stat().st_size == self.size and sha256_file(path) == self.sha256


def cache_folder() -> Path:
    """``M2_REPO``, or Maven's own default."""
    return Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository")


def read_lock(path: Path) -> tuple[list[Jar], str]:
    """The jars this machine needs, and the sha256 of the lock file. Native code of other machines is left out."""
    content = path.read_bytes()
    rows = [Jar(folder, *row) for folder, rows in json.loads(content).items() for row in rows]
    return [jar for jar in rows if _fits(jar)], hashlib.sha256(content).hexdigest()


def _fits(jar: Jar) -> bool:
    classifier = jar.parts[2]
    machine = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch_64", "arm64": "aarch_64"}
    own = f"{sys.platform}-{machine.get(platform.machine().lower(), '')}"
    return not classifier or classifier == own


def missing_jars(jars: Sequence[Jar], cache: Path) -> list[Jar]:
    """Those that are not in the cache as the lock file has them: absent, cut short, or changed."""
    with ThreadPoolExecutor(WORKERS) as pool:
        there = list(pool.map(lambda jar: jar.is_at(cache / jar.cache_path), jars))
    return [jar for jar, ok in zip(jars, there, strict=True) if not ok]


def fetch_jars(jars: Sequence[Jar], cache: Path, *, of: str = "OpenSearch", offline: bool = False) -> None:
    """Bring every jar of ``of`` into ``cache``; at once if they are all there.

    Raises NodeError when a jar is missing and ``offline`` is set, cannot be had, or is not what the lock file says;
    MissingExtraError when jgo is not installed.
    """
    wanted = missing_jars(jars, cache)
    if not wanted:
        return
    if offline:
        raise NodeError(
            f"{len(wanted)} of {len(jars)} jars of {of} are not in {cache} (the first: {wanted[0].coordinate}), "
            "and `offline` forbids fetching them; run once without `offline`, or copy that folder from a machine "
            "that has it (M2_REPO names another folder)"
        )
    require("jgo", "node")
    cache.mkdir(parents=True, exist_ok=True)
    with held(cache / ".osparse.lock", WAIT_SECONDS, f"another process that is filling {cache}"):
        if wanted := missing_jars(wanted, cache):
            _fetch(wanted, cache, of)


def _fetch(wanted: Sequence[Jar], cache: Path, of: str) -> None:
    from osparse.io.progress import progress

    total = sum(jar.size for jar in wanted)
    log.info("fetching %d jars of %s (%.1f MB) into %s", len(wanted), of, total / 1e6, cache)
    with (
        tempfile.TemporaryDirectory(dir=cache, prefix=".osparse.") as staging,
        progress(f"{of} jars", total, "bytes") as bar,
    ):
        guard = threading.Lock()

        def advance(n: int) -> None:
            with guard:
                bar.advance(n)

        pool = ThreadPoolExecutor(WORKERS)
        try:
            for _ in pool.map(partial(_fetch_one, cache=cache, staging=Path(staging), advance=advance), wanted):
                pass
        finally:
            pool.shutdown(cancel_futures=True)


def _fetch_one(jar: Jar, *, cache: Path, staging: Path, advance: Callable[[int], None]) -> None:
    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(2.0**attempt)
        counted = _Counter(advance)
        try:
            path = _download(jar, staging, counted)
        except (OSError, RuntimeError) as error:  # requests' own errors are OSErrors
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            problem = _reason(error)
            log.debug("%s: %s", jar.coordinate, error)
        else:
            if jar.is_at(path):
                target = cache / jar.cache_path
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
                advance(jar.size - counted.n)
                return
            problem = f"{path.stat().st_size:,} bytes came whose size or sha256 is not that of the lock file"
        advance(-counted.n)
        (staging / jar.cache_path).unlink(missing_ok=True)
    raise NodeError(
        f"cannot fetch {jar.coordinate}: {problem} ({ATTEMPTS} attempts); check the network, a proxy (HTTPS_PROXY) and "
        f"its certificates (REQUESTS_CA_BUNDLE), then run again: what came is kept. Or copy the jars into {cache} from "
        "a machine that has them"
    )


class _Counter:
    """What jgo's progress callback is told, in bytes."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self.n = 0
        self._advance = advance

    @contextmanager
    def __call__(self, name: str, size: int) -> Iterator[Callable[[int], None]]:
        def update(n: int) -> None:
            self.n += n
            self._advance(n)

        yield update


def _download(jar: Jar, staging: Path, counter: _Counter) -> Path:
    maven: Any = require("jgo.maven", "node")
    context = maven.MavenContext(
        resolver=maven.PythonResolver(progress_callback=counter), repo_cache=staging, timeout=TIMEOUT_SECONDS
    )
    # Without the "!" jgo reads the coordinate as a bill of materials and changes versions.
    return Path(context.create_dependency(jar.coordinate + "!").artifact.resolve())


def _reason(error: Exception) -> str:
    kind = type(error).__name__
    if "SSL" in kind:
        return "the repository's TLS certificate is not trusted here"
    if "Timeout" in kind or "Connect" in kind or "Proxy" in kind:
        return f"the repository cannot be reached ({kind})"
    return "the repository does not have it" if isinstance(error, RuntimeError) else f"{kind}: {error}"
