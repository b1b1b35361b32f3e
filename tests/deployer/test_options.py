"""Options that a deploy does not name stay as they are: in the index that is there, and in the one that replaces it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from mlcommons_server import Fault, MLCommonsServer

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.deployer import Serving, Upgrade, deploy, read_deployment, rollback, status, undeploy
from osparse.deployer.index.kept_options import serving_of
from osparse.errors import ClusterError, InputError

from .conftest import client


def osparse(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


def served(server: MLCommonsServer) -> Serving:
    return serving_of(read_deployment(client(server), "products"))


CHOICES: list[dict[str, Any]] = [
    {"two_phase": True, "skip_existing": True},
    {"prune_ratio": 0.25, "ingest_batch": 8, "hybrid": "rrf"},
    {"chunk_text": True},
    {"field": "sparse_vector"},
    {"field": "semantic", "hybrid": "normalise"},
]


@pytest.mark.parametrize("choices", CHOICES)
def test_what_is_not_named_is_kept(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, choices: dict[str, Any]
) -> None:
    """By a second deploy and by an upgrade; as a clean deploy of the same options would have made it."""
    deploy(small_bundle, client(server), "products", serving=choices)
    wanted = Serving(**choices)
    again = deploy(small_bundle, client(server), "products")
    assert not again.plan.changes and served(server) == wanted and "kept from the index before: " in str(again)
    deploy(other_bundle, client(server), "products")
    assert served(server) == wanted
    deploy(other_bundle, client(server), "clean", serving=wanted)
    ours, clean = (read_deployment(client(server), name) for name in ("products", "clean"))
    assert ours == clean and all(one.ready for one in status(client(server)))


def test_options_are_turned_off_by_name(
    server: MLCommonsServer, small_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("deploy", str(small_bundle.path), "--cluster", server.url, "--index", "products")
    assert osparse(*command, "--two-phase", "--skip-existing", "--hybrid", "rrf") == 0
    assert osparse(*command) == 0
    assert "kept from the index before: two-phase, hybrid rrf, skip-existing" in capsys.readouterr().out
    assert osparse(*command, "--no-two-phase", "--hybrid", "none") == 0
    shown = capsys.readouterr().out
    assert "turned off: two-phase, hybrid" in shown and "index before: skip-existing" in shown
    assert served(server) == Serving(skip_existing=True) and "osparse-hybrid-products" not in server.pipelines
    assert osparse(*command, "--prune-ratio", "0.1", "--no-prune") == 2


def test_the_whole_choice_at_once_says_what_it_turns_off(server: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(server), "products", serving=Serving(two_phase=True))
    assert "turned off: two-phase" in str(deploy(small_bundle, client(server), "products", serving=Serving()))
    with pytest.raises(InputError, match="colour: no such option"):
        deploy(small_bundle, client(server), "products", serving={"colour": 1})


def test_an_older_deployment_says_its_options_by_the_names_of_its_pipelines(
    server: MLCommonsServer, small_bundle: Bundle
) -> None:
    choices = {"two_phase": True, "skip_existing": True, "ingest_batch": 16, "prune_ratio": 0.1}
    deployment = deploy(small_bundle, client(server), "products", serving=choices).deployment
    older = replace(deployment, two_phase=False, skip_existing=False, ingest_batch=1)
    assert serving_of(older) == serving_of(deployment) == Serving(**choices)  # type: ignore[arg-type]


@pytest.mark.parametrize("hybrid", ["normalise", "rrf"])
def test_the_hybrid_pipeline_follows_the_alias_under_one_name(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, hybrid: Any
) -> None:
    def tokenizer() -> str:
        (processor, *_) = server.pipelines["osparse-hybrid-products"]["request_processors"]
        (model,) = processor["neural_query_enricher"]["neural_field_default_id"].values()
        return str(server.models[model]["name"])

    deploy(small_bundle, client(server), "products", serving={"hybrid": hybrid})
    assert tokenizer() == f"tiny-{small_bundle.short}-tokenizer"
    deploy(other_bundle, client(server), "products", upgrade=Upgrade(stage=True))
    assert tokenizer() == f"tiny-{small_bundle.short}-tokenizer", "the old index still serves"
    deploy(other_bundle, client(server), "products")
    assert tokenizer() == f"tiny-{other_bundle.short}-tokenizer"
    rollback(client(server), "products")
    assert tokenizer() == f"tiny-{small_bundle.short}-tokenizer" and all(one.ready for one in status(client(server)))
    assert undeploy(client(server), "products", keep=0).left == []
    undeploy(client(server), "products", everything=True)
    assert not server.pipelines and not server.models


def test_in_client_mode_the_hybrid_pipeline_stays(
    small_bundle: Bundle, other_bundle: Bundle, core: MLCommonsServer
) -> None:
    core.plugins.append("opensearch-neural-search")
    deploy(small_bundle, client(core), "products", serving={"hybrid": "rrf"})
    before = dict(core.pipelines)
    assert list(before) == ["osparse-hybrid-products"]
    deploy(other_bundle, client(core), "products")
    assert served(core) == Serving(hybrid="rrf") and core.pipelines.keys() == before.keys()


@pytest.mark.parametrize("mode", ["ml-commons", "client"])
def test_turning_hybrid_off_resumes(server: MLCommonsServer, small_bundle: Bundle, mode: Any) -> None:
    """_meta says "none" before the pipeline is deleted."""
    deploy(small_bundle, client(server), "products", mode=mode, serving={"hybrid": "rrf"})
    server.faults = [Fault("drop", matching="DELETE .*osparse-hybrid-products", times=10)]
    with pytest.raises(ClusterError):
        deploy(small_bundle, client(server, retries=0), "products", serving={"hybrid": "none"})
    server.faults = []
    assert served(server).hybrid == "none" and "osparse-hybrid-products" in server.pipelines
    deploy(small_bundle, client(server), "products", serving={"hybrid": "none"})
    assert "osparse-hybrid-products" not in server.pipelines
    assert not deploy(small_bundle, client(server), "products").plan.changes
