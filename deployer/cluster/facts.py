"""What a cluster is and has, seen by asking it, and the mode of serving that follows from it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from osparse.contracts.deployment import KeyStyle, Mode
from osparse.deployer.cluster.api import ClusterApi
from osparse.errors import ClusterError, InputError, MissingPluginError
from osparse.opensearch_versions import SINCE, Feature

AskedMode = Literal["auto", "ml-commons", "remote", "client"]
ML_PLUGINS = ("opensearch-ml", "opensearch-neural-search")
"""What ml-commons mode needs; the second alone brings the neural_sparse query."""
KOREAN_ANALYZERS = ("nori", "cjk", "standard")
ENGLISH_ANALYZERS = ("english", "standard")


@dataclass(frozen=True)
class Facts:
    """A cluster as it showed itself."""

    version: str
    name: str
    plugins: tuple[str, ...] = ()
    ml_nodes: tuple[str, ...] = ()
    """Names of the nodes with the ml role."""
    nodes: tuple[str, ...] = field(default=())

    def at_least(self, version: tuple[int, int]) -> bool:
        numbers = _numbers(self.version)
        return numbers is not None and numbers >= version

    def has(self, feature: Feature) -> bool:
        """Whether the cluster's version is new enough for the feature."""
        return self.at_least(SINCE[feature])

    @property
    def neural_search(self) -> bool:
        return "opensearch-neural-search" in self.plugins

    @property
    def key_style(self) -> KeyStyle:
        """How features must be named so that this cluster's queries reach tokens with a dot."""
        return "raw" if self.neural_search and self.has("query_tokens") else "u2024"

    @property
    def missing_plugins(self) -> list[str]:
        return [plugin for plugin in ML_PLUGINS if plugin not in self.plugins]


@dataclass(frozen=True)
class Choice:
    mode: Mode
    why: str


def look(api: ClusterApi) -> Facts:
    """Ask the cluster; raises :class:`ClusterError` if it is not an OpenSearch, or too old a one."""
    root = api.root()
    version = root.get("version")
    if not isinstance(version, dict) or "number" not in version:
        raise ClusterError(f"{api.cluster.url} answers, but not as OpenSearch does; check the address")
    if version.get("distribution") != "opensearch" and "OpenSearch" not in str(root.get("tagline")):
        raise ClusterError(
            f"{api.cluster.url} is not an OpenSearch: it calls itself {root.get('tagline', 'nothing')!r}, version "
            f"{version['number']}; osparse serves on OpenSearch 2.11 or newer"
        )
    numbers = _numbers(str(version["number"]))
    if numbers is None or numbers < SINCE["sparse_encoding"]:
        raise ClusterError(
            f"{api.cluster.url} is OpenSearch {version['number']}; osparse serves on OpenSearch 2.11 or newer"
        )
    plugins = sorted({str(row.get("component")) for row in api.plugins()})
    nodes = api.nodes().values()
    return Facts(
        version=str(version["number"]),
        name=str(root.get("cluster_name", "")),
        plugins=tuple(plugins),
        ml_nodes=tuple(str(node.get("name")) for node in nodes if "ml" in node.get("roles", ())),
        nodes=tuple(str(node.get("name")) for node in nodes),
    )


def choose_mode(facts: Facts, asked: str) -> Choice:
    """Decide how to serve.

    Raises:
        MissingPluginError: ml-commons or remote was asked for and the cluster lacks a plugin.
        ClusterError: ml-commons or remote was asked for and the cluster is too old for it.
        InputError: ``asked`` is none of auto, ml-commons, remote, client.
    """
    missing = facts.missing_plugins
    lacks = f"OpenSearch {facts.version} without {' and '.join(missing)}"
    if asked in ("ml-commons", "remote") and missing:
        raise MissingPluginError(
            f"mode {asked} needs the plugins {' and '.join(ML_PLUGINS)}; this is {lacks}; install them on every "
            "node, or use `mode=client`"
        )
    asked_or_best = "remote" if asked == "remote" else "ml-commons"
    too_old = f"OpenSearch {facts.version}, and mode {asked_or_best} needs 2.13 or newer"
    if asked in ("ml-commons", "remote") and not facts.has("enricher"):
        raise ClusterError(f"this is {too_old}: upgrade it, or use `mode=client`")
    if asked == "client":
        return Choice("client", "asked for")
    if asked == "ml-commons":
        return Choice("ml-commons", "asked for")
    if asked == "remote":
        return Choice("remote", "asked for")
    if asked != "auto":
        raise InputError(f"mode {asked!r} is not one of auto, ml-commons, remote, client")
    if missing:
        return Choice("client", f"this is {lacks}: documents and queries are encoded by osparse")
    if not facts.has("enricher"):
        return Choice("client", f"this is {too_old}: documents and queries are encoded by osparse")
    return Choice("ml-commons", f"OpenSearch {facts.version} has {' and '.join(ML_PLUGINS)}: it encodes by itself")


def _numbers(version: str) -> tuple[int, int] | None:
    """Major and minor of a version number; None if it has none."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else None


def first_analyzer(api: ClusterApi, candidates: tuple[str, ...]) -> str:
    """The first of the analyzers that the cluster has; ``standard`` is in every OpenSearch."""
    return next((name for name in candidates[:-1] if api.has_analyzer(name)), candidates[-1])
