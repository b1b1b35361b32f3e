"""What a cluster shows, and the mode that follows."""

from __future__ import annotations

import pytest
from mlcommons_server import ML_PLUGINS, Fault, MLCommonsServer, mlcommons_server

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.facts import Facts, choose_mode, first_analyzer, look
from osparse.errors import ClusterError, InputError, MissingPluginError

from .conftest import client


@pytest.mark.parametrize(
    ("plugins", "mode", "key_style"),
    [
        (ML_PLUGINS, "ml-commons", "raw"),
        ((), "client", "u2024"),
        (("opensearch-neural-search",), "client", "raw"),
        (("opensearch-ml",), "client", "u2024"),
    ],
)
def test_mode_follows_from_the_plugins(plugins: tuple[str, ...], mode: str, key_style: str) -> None:
    with mlcommons_server(plugins=plugins) as server:
        facts = look(ClusterApi(client(server)))
    choice = choose_mode(facts, "auto")
    assert (choice.mode, facts.key_style, facts.version) == (mode, key_style, "3.4.0")
    assert all(plugin in choice.why for plugin in (facts.missing_plugins or ["opensearch-ml"]))


def test_a_mode_that_is_none() -> None:
    with pytest.raises(InputError, match="auto, ml-commons, remote, client"):
        choose_mode(Facts("3.4.0", "c"), "both")


def test_missing_plugins_are_named() -> None:
    with pytest.raises(MissingPluginError, match="without opensearch-ml and opensearch-neural-search"):
        choose_mode(Facts("3.4.0", "c"), "ml-commons")


def test_client_mode_can_be_asked_for_anywhere() -> None:
    assert choose_mode(Facts("3.4.0", "c", plugins=ML_PLUGINS), "client").mode == "client"


def test_another_search_engine(server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        server, "root", lambda request: {"version": {"number": "9.1.0"}, "tagline": "You Know, for Search"}
    )
    with pytest.raises(ClusterError, match="You Know, for Search"):
        look(ClusterApi(client(server)))
    monkeypatch.setattr(server, "root", lambda request: {"hello": "world"})
    with pytest.raises(ClusterError, match="not as OpenSearch does"):
        look(ClusterApi(client(server)))
    server.faults = [Fault("html", matching="GET /$", status=200)]
    with pytest.raises(ClusterError, match="text/html"):
        look(ClusterApi(client(server)))


def test_the_best_analyzer_there_is(server: MLCommonsServer) -> None:
    api = ClusterApi(client(server))
    assert first_analyzer(api, ("nori", "cjk", "standard")) == "cjk"
    server.analyzers = {"standard"}
    assert first_analyzer(api, ("nori", "cjk", "standard")) == "standard"
