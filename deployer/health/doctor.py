"""What this machine and, if one is named, a cluster lack for each way of working."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import osparse
from osparse.contracts.deployment import META_KEY
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.cluster.facts import KOREAN_ANALYZERS, Facts, look
from osparse.deployer.health.airgap import downloads
from osparse.deployer.load.bundle_store import cache_folder
from osparse.deployer.mlcommons.api import MLCommons
from osparse.deployer.mlcommons.settings_step import MAX_MODELS, local_models, settings_problems
from osparse.deployer.names import BUNDLES_INDEX
from osparse.deployer.preflight.adoption import foreign_index_checks
from osparse.deployer.preflight.blocks import index_checks
from osparse.deployer.preflight.checks import Check
from osparse.deployer.preflight.permissions import deploy_calls, permission_checks
from osparse.deployer.preflight.preflight import cluster_checks
from osparse.plugins.extras import EXTRAS

Level = Literal["ok", "note", "missing"]
_SIGN = {"ok": "+", "note": "!", "missing": "-"}
HEAP_TIGHT = 85
"""Percent; ML Commons' own threshold."""
DISK_TIGHT = 5e9
"""Bytes; ML Commons' own threshold."""


@dataclass(frozen=True)
class Observation:
    """One thing looked at."""

    about: Literal["machine", "cluster"]
    level: Level
    text: str


@dataclass(frozen=True)
class Diagnosis:
    observations: list[Observation]

    def to_json(self) -> dict[str, Any]:
        return {"observations": [asdict(observation) for observation in self.observations]}

    def __str__(self) -> str:
        lines = []
        for about in ("machine", "cluster"):
            mine = [o for o in self.observations if o.about == about]
            lines += [f"{about}:", *(f"  {_SIGN[o.level]} {o.text}" for o in mine)] if mine else []
        return "\n".join(lines)


def doctor(cluster: Cluster | None = None, index: str | None = None) -> Diagnosis:
    """Look at this machine and the cluster; changes nothing.

    Args:
        index: Name that a bundle serves under, or is to serve under: its blocks are looked at, and the permissions
            that a deploy of it needs.

    Raises:
        ClusterError: the cluster is named and does not answer as one.
    """
    found = list(_machine())
    if cluster is not None:
        found += _cluster(ClusterApi(cluster), index)
    return Diagnosis(found)


def _of_index(api: ClusterApi, facts: Facts, alias: str) -> Iterator[Check]:
    """Blocks of the index that serves under the name, and the permissions that another deploy of it needs."""
    serving = api.indices_of_alias(alias) or [alias]
    yield from index_checks(api, [*serving, BUNDLES_INDEX])
    old = serving[0] if api.get_mapping(serving[0]) is not None else None
    if old is not None and META_KEY not in api.all_meta(old).get(old, {}):
        yield from foreign_index_checks(api, old)
    ml = not facts.missing_plugins and facts.has("enricher")
    yield from permission_checks(api.cluster, deploy_calls(alias, f"{alias}-new", old, ml=ml), "deploy")


def _machine() -> Iterator[Observation]:
    yield Observation("machine", "ok", f"osparse {osparse.__version__}, Python {platform.python_version()}, "
                      f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores")  # fmt: skip
    for extra, modules in EXTRAS.items():
        absent = [module for module in modules if importlib.util.find_spec(module) is None]
        if absent:
            yield Observation(
                "machine",
                "note",
                f"extra {extra} is not installed ({', '.join(absent)}): pip install 'osparse[{extra}]'",
            )
        else:
            yield Observation("machine", "ok", f"extra {extra}: {', '.join(_version(module) for module in modules)}")
    yield Observation("machine", "ok", f"encoding: {', '.join(_providers())}")
    free = _available_memory()
    if free is not None:
        level: Level = "ok" if free >= 2e9 else "note"
        yield Observation(
            "machine", level, f"{free / 1e9:.1f} GB of memory available (the embedded node wants about 1)"
        )
    disk = shutil.disk_usage(next(p for p in [cache_folder(), *cache_folder().parents] if p.exists())).free
    level = "ok" if disk >= 2e9 else "note"
    yield Observation("machine", level, f"{disk / 1e9:.1f} GB free for the cache {cache_folder()}")


def _cluster(api: ClusterApi, index: str | None) -> Iterator[Observation]:
    facts = look(api)
    yield Observation("cluster", "ok", f"{api.cluster.url}: OpenSearch {facts.version}, {len(facts.nodes)} nodes, "
                      f"plugins: {', '.join(facts.plugins) or 'none'}")  # fmt: skip
    yield from _nodes(api)
    for check in [*cluster_checks(api), *(_of_index(api, facts, index) if index is not None else [])]:
        yield Observation("cluster", "missing" if check.level == "blocked" else check.level, check.text)
    how = "neural_sparse query_tokens" if facts.neural_search else "rank_feature clauses, '.' stored as U+2024"
    yield Observation("cluster", "ok", f"mode client works ({how})")
    if facts.missing_plugins:
        missing = " and ".join(facts.missing_plugins)
        yield Observation("cluster", "missing", f"mode ml-commons: install {missing} on every node")
    else:
        problems = settings_problems(api, facts)
        yield from (Observation("cluster", "missing", f"mode ml-commons: {problem}") for problem in problems)
        if not problems:
            yield Observation("cluster", "ok", "mode ml-commons works")
        yield from _slots(api)
        yield from _fetched(api, facts)
    absent = [name for name in KOREAN_ANALYZERS if not api.has_analyzer(name)]
    if absent:
        text = f"no {' and no '.join(absent)} analyzer: Korean BM25 fields use a weaker one"
        yield Observation("cluster", "note", text)


def _nodes(api: ClusterApi) -> Iterator[Observation]:
    """Memory and disk of each node; a full disk stops writes, full memory opens ML Commons' breakers."""
    for node in api.node_stats().values():
        heap = node.get("jvm", {}).get("mem", {}).get("heap_used_percent")
        memory = node.get("os", {}).get("mem", {}).get("used_percent")
        disk = node.get("fs", {}).get("total", {}).get("available_in_bytes")
        said = [
            *([f"heap {heap} % in use"] if heap is not None else []),
            *([f"memory {memory} % in use"] if memory is not None else []),
            *([f"{disk / 1e9:.1f} GB of disk free"] if disk is not None else []),
        ]
        tight = (heap or 0) > HEAP_TIGHT or (disk is not None and disk < DISK_TIGHT)
        if said:
            yield Observation("cluster", "note" if tight else "ok", f"node {node.get('name')}: {', '.join(said)}")


def _slots(api: ClusterApi) -> Iterator[Observation]:
    """A bundle takes two models on each node that runs models."""
    most = int(float(api.settings().get(MAX_MODELS, "10")))
    for node, models in MLCommons(api.cluster).profiles().items():
        running = len(local_models(models))
        if most - running < 2:
            yield Observation(
                "cluster",
                "missing",
                f"node {node} runs {running} models of {most}, and a bundle brings two: remove old ones "
                f"(osparse undeploy), or raise {MAX_MODELS}",
            )


def _fetched(api: ClusterApi, facts: Facts) -> Iterator[Observation]:
    """The files a node without internet needs, by its version, processor and data folder."""
    major, minor = (int(part) for part in facts.version.split(".")[:2])
    wanted: dict[str, list[str]] = {}
    for node in api.node_places().values():
        data = node.get("settings", {}).get("path", {}).get("data") or "<path.data>"
        place = str(data[0] if isinstance(data, list) else data)
        architecture = str(node.get("os", {}).get("arch", "amd64"))
        for download in downloads((major, minor), architecture, place):
            wanted.setdefault(str(download), []).append(str(node.get("name")))
    if wanted:
        yield Observation(
            "cluster",
            "note",
            "a TorchScript model's first deploy fetches libtorch from publish.djl.ai; on nodes that cannot reach it, "
            "put there by hand (owned by the user OpenSearch runs as):",
        )
    for text, nodes in wanted.items():
        yield Observation("cluster", "note", f"  {text}; on {', '.join(nodes)}")


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Module -> what brought it; reads every installed package, so once."""
    return importlib.metadata.packages_distributions()


def _version(module: str) -> str:
    names = _distributions().get(module, [module])
    return f"{names[0]} {importlib.metadata.version(names[0])}"


def _providers() -> list[str]:
    import onnxruntime

    return [f"onnxruntime {onnxruntime.__version__}", *onnxruntime.get_available_providers()]


def _available_memory() -> float | None:
    """Bytes, from /proc/meminfo; None where there is none."""
    path = Path("/proc/meminfo")
    if not path.is_file():
        return None
    lines = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return next((float(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:"), None)
