"""What each OpenSearch version can do, and flags that would do nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mlcommons_server import ML_PLUGINS, MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.deployer import Cluster, deploy
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.facts import Facts, choose_mode, look
from osparse.deployer.index.layout import Serving
from osparse.errors import ClusterError, InputError

from .conftest import client


def set_version(server: MLCommonsServer, number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    version = {"distribution": "opensearch", "number": number}
    monkeypatch.setattr(server, "root", lambda request: {"cluster_name": "c", "version": version})


@pytest.mark.parametrize(
    ("number", "mode", "key_style"),
    [
        ("2.11.0", "client", "u2024"),
        ("2.12.1", "client", "u2024"),
        ("2.13.0", "ml-commons", "u2024"),
        ("2.14.0", "ml-commons", "raw"),
        ("3.0.0-alpha1", "ml-commons", "raw"),
        ("10.1.0", "ml-commons", "raw"),
    ],
)
def test_what_a_version_can_do(
    number: str, mode: str, key_style: str, server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_version(server, number, monkeypatch)
    facts = look(ClusterApi(client(server)))
    choice = choose_mode(facts, "auto")
    assert (choice.mode, facts.key_style) == (mode, key_style) and number in choice.why
    if mode == "client":
        with pytest.raises(ClusterError, match=r"2\.13"):
            choose_mode(facts, "ml-commons")


@pytest.mark.parametrize("number", ["1.3.20", "2.9.0", "2.10.5", "unknown"])
def test_a_version_that_is_too_old(number: str, server: MLCommonsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    set_version(server, number, monkeypatch)
    with pytest.raises(ClusterError, match=rf"{number}.*2\.11 or newer"):
        look(ClusterApi(client(server)))


def test_two_phase_needs_its_version(
    server: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_version(server, "2.14.0", monkeypatch)
    with pytest.raises(InputError, match=r"`two_phase` needs OpenSearch 2\.15"):
        deploy(small_bundle, client(server), "products", serving=Serving(two_phase=True))
    assert not server.groups


def test_tls_flags_mean_nothing_without_tls(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="`insecure`.*https://"):
        Cluster("http://localhost:9200", insecure=True)
    with pytest.raises(InputError, match="`ca_file`.*https://"):
        Cluster("http://localhost:9200", ca_file=tmp_path / "ca.pem")
    assert choose_mode(Facts("3.4.0", "c", plugins=ML_PLUGINS), "auto").mode == "ml-commons"


def test_a_bundle_goes_where_it_is_proved_for(
    server: MLCommonsServer,
    small_bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bundle = replace(small_bundle, targets=("3.0", "3.4"))
    set_version(server, "2.19.1", monkeypatch)
    with pytest.raises(InputError, match=r"is proved for OpenSearch 3.0, 3.4, and this is 2.19.1; .* --target 2.19"):
        deploy(bundle, client(server), "products")
    assert not server.models and not server.indices
    assert deploy(bundle, client(server), "local", mode="client").applied, "there osparse runs it"
    set_version(server, "3.9.0", monkeypatch)
    assert deploy(bundle, client(server), "newer").applied, "3.9 runs the libraries of 3.4"
    set_version(server, "4.1.0", monkeypatch)
    with caplog.at_level("WARNING", "osparse.deployer"):
        assert deploy(bundle, client(server), "products").applied
    assert "what 4.1.0 runs is not known" in caplog.text
