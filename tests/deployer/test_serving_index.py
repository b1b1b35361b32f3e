"""What an index is wired to: its default pipelines follow the deploy, and drift is seen and mended."""

from __future__ import annotations

import pytest
from mlcommons_server import MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.deployer import ModelOptions, deploy, read_deployment, status
from osparse.deployer.index.layout import Serving
from osparse.errors import ClusterError, InputError

from .conftest import client

TWO_PHASE = "neural_sparse_two_phase_processor"


def processors(server: MLCommonsServer, index: str) -> list[str]:
    """Of the search pipeline an index really uses."""
    pipeline = server.pipelines[server.indices[index].settings["search.default_pipeline"]]
    return [next(iter(processor)) for processor in pipeline["request_processors"]]


def test_two_phase_is_the_index_own(server: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(server), "p", serving=Serving(two_phase=True))
    deploy(small_bundle, client(server), "q")
    assert TWO_PHASE in processors(server, f"p-{small_bundle.short}")
    assert TWO_PHASE not in processors(server, f"q-{small_bundle.short}")
    assert not deploy(small_bundle, client(server), "p", serving=Serving(two_phase=True)).plan.changes
    assert not deploy(small_bundle, client(server), "q").plan.changes


def test_two_phase_can_be_put_on_and_off(server: MLCommonsServer, small_bundle: Bundle) -> None:
    index = f"p-{small_bundle.short}"
    deploy(small_bundle, client(server), "p")
    for two_phase in (True, False):
        result = deploy(small_bundle, client(server), "p", serving=Serving(two_phase=two_phase))
        assert "search.default_pipeline" in result.plan.changes[-1].why
        assert (TWO_PHASE in processors(server, index)) is two_phase
        assert read_deployment(client(server), "p") == result.deployment
        assert result.deployment.search_pipeline == server.indices[index].settings["search.default_pipeline"]
        assert not deploy(small_bundle, client(server), "p", serving=Serving(two_phase=two_phase)).plan.changes


@pytest.mark.parametrize("setting", ["default_pipeline", "search.default_pipeline"])
@pytest.mark.parametrize("value", [None, "other", "_none"])
def test_a_default_pipeline_that_drifted_is_put_back(
    setting: str, value: str | None, server: MLCommonsServer, small_bundle: Bundle
) -> None:
    deploy(small_bundle, client(server), "products")
    wanted = server.state()
    client(server).request("PUT", "/products/_settings", body={f"index.{setting}": value})
    (found,) = status(client(server))
    assert not found.ready and f"index.{setting}" in str(found)
    result = deploy(small_bundle, client(server), "products")
    assert [finding.action for finding in result.plan.findings] == ["keep"] * 7 + ["change"]
    assert server.state() == wanted and status(client(server))[0].ready


def test_an_index_of_client_mode_has_no_pipeline(core: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(core), "products")
    client(core).request("PUT", "/products/_settings", body={"index.default_pipeline": "stranger"})
    assert not status(client(core))[0].ready
    deploy(small_bundle, client(core), "products")
    assert core.indices[f"products-{small_bundle.short}"].settings["default_pipeline"] == "_none"
    assert status(client(core))[0].ready


def test_two_phase_is_refused_in_client_mode(core: MLCommonsServer, small_bundle: Bundle) -> None:
    with pytest.raises(InputError, match="`two_phase`"):
        deploy(small_bundle, client(core), "products", serving=Serving(two_phase=True))
    assert not core.indices


def test_options_of_ml_commons_are_said_to_do_nothing_in_client_mode(
    core: MLCommonsServer, small_bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", "osparse.deployer"):
        deploy(
            small_bundle,
            client(core),
            "products",
            models=ModelOptions(allow_settings=True, via_url="https://files.example/"),
        )
    assert "`allow_settings` has no effect" in caplog.text and "`via_url` has no effect" in caplog.text


def test_status_of_one_index_asks_about_that_one_only(server: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(server), "p")
    deploy(small_bundle, client(server), "q")
    first = len(server.calls)
    (found,) = status(client(server), "q")
    assert found.aliases == ["q"] and found.ready
    asked = [call.path for call in server.calls[first:]]
    assert not [path for path in asked if path.startswith(("/_all", f"/p-{small_bundle.short}", "/p/"))]
    assert status(client(server), f"q-{small_bundle.short}") == [found]
    with pytest.raises(ClusterError, match="no deployment none; it has: p, q"):
        status(client(server), "none")


def test_a_strangers_meta_is_not_a_deployment(core: MLCommonsServer, small_bundle: Bundle) -> None:
    for name, meta in (("a", {"osparse": "x"}), ("b", "y")):
        client(core).request("PUT", f"/{name}", body={"mappings": {"_meta": meta}})
    assert status(client(core)) == []
    with pytest.raises(ClusterError, match="it has: none"):
        status(client(core), "a")


def test_the_tokenizer_part_counts_in_ml_commons_mode(server: MLCommonsServer, small_bundle: Bundle) -> None:
    """Query encoders away from the cluster read it, whatever the mode."""
    deploy(small_bundle, client(server), "products")
    server.indices["osparse-bundles"].documents.clear()
    (found,) = status(client(server))
    assert not found.ready and "tokenizer part" in str(found) and "onnx" not in str(found)
    from osparse.deployer import query_encoder

    with pytest.raises(ClusterError, match="osparse deploy BUNDLE --index NAME$"):
        query_encoder(client(server), found.deployment)
    deploy(small_bundle, client(server), "products")
    assert status(client(server))[0].ready


def test_what_others_keep_in_meta_stays(server: MLCommonsServer, small_bundle: Bundle) -> None:
    """A load that was killed left the refresh interval there that the next one puts back."""
    index = f"p-{small_bundle.short}"
    deploy(small_bundle, client(server), "p")
    meta = server.indices[index].mappings["_meta"]
    client(server).request("PUT", f"/{index}/_mapping", body={"_meta": {**meta, "osparse_refresh": None, "own": 1}})
    result = deploy(small_bundle, client(server), "p", serving=Serving(two_phase=True))
    assert read_deployment(client(server), "p") == result.deployment
    assert {"osparse_refresh": None, "own": 1}.items() <= server.indices[index].mappings["_meta"].items()
