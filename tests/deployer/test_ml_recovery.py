"""Deploying again after something on the server changed, broke or got busy."""

from __future__ import annotations

import pytest
from mlcommons_server import Fault, MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.deployer import deploy, status
from osparse.deployer.mlcommons import tasks
from osparse.errors import ClusterError

from .conftest import client


def test_served_models_need_no_settings(server: MLCommonsServer, small_bundle: Bundle) -> None:
    """Whoever locks the settings again after a deploy, or fills the page cache, can still deploy."""
    deploy(small_bundle, client(server), "products")
    server.persistent.clear()
    server.memory_percent = 97
    result = deploy(small_bundle, client(server), "products")
    assert not result.plan.changes and "the models are served already" in str(result)
    server.restart()
    with pytest.raises(ClusterError, match="`allow_settings=True`"):
        deploy(small_bundle, client(server), "products")


def test_an_open_circuit_breaker_is_told_with_its_remedy(
    server: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(small_bundle, client(server), "products")
    monkeypatch.setattr(tasks, "SETTLE_SECONDS", 0.05)
    server.faults = [Fault("status", matching="_predict", times=10_000, status=429)]
    (found,) = status(client(server), "products")
    assert not found.ready and not any(model.answers for model in found.models)
    assert "does not answer" in str(found) and "native_memory_threshold" in str(found)
    with pytest.raises(ClusterError, match="does not answer: .*Data too large.*native_memory_threshold"):
        deploy(small_bundle, client(server), "products")


def test_a_busy_moment_of_the_proof_is_waited_out(server: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(server), "products")
    first = len(server.calls)
    deploy(small_bundle, client(server), "products")
    calls = server.calls[first:]
    proof = [n for n, call in enumerate(calls, len(server.calls) + 1) if "_predict" in call.path][
        2
    ]  # after one answer of each
    server.faults = [Fault("status", calls=range(proof, proof + 1), status=429)]
    assert not deploy(small_bundle, client(server), "products").plan.changes
    assert [call.path.rsplit("/", 1)[1] for call in server.calls if call.status == 429] == ["_predict"]


def test_a_model_uploaded_again_ends_up_deployed(server: MLCommonsServer, small_bundle: Bundle) -> None:
    """REGISTERED comes a while after the last chunk: deploying before would let it overwrite DEPLOYED."""
    server.settle_seconds = 0.2
    server.faults = [Fault("drop", matching="_deploy", times=10)]
    with pytest.raises(ClusterError):
        deploy(small_bundle, client(server, retries=0), "products")
    server.faults = []
    for chunks in server.chunks.values():
        chunks[0] = b"damaged" + chunks[0]
    deploy(small_bundle, client(server), "products")
    assert not deploy(small_bundle, client(server), "products").plan.changes


@pytest.mark.parametrize("state", ["EXPIRED", "UNREACHABLE", "CANCELLED"])
def test_a_task_that_ended_is_not_waited_for(
    state: str, server: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "TASK_SECONDS", 0.2)
    monkeypatch.setattr(server, "task_get", lambda request: {"state": state})
    with pytest.raises(ClusterError, match=f"the task ended {state}"):
        deploy(small_bundle, client(server), "products")


def test_waiting_for_a_deploy_task_shows_itself(
    server: MLCommonsServer, small_bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "osparse.io.progress"):
        deploy(small_bundle, client(server), "products")
    assert [m for m in caplog.messages if m.startswith(f"deploy tiny-{small_bundle.short}-encoder")]


def test_a_plan_proves_each_model_once(server: MLCommonsServer, small_bundle: Bundle) -> None:
    """Also where settings were locked again, so that it matters whether the models are served."""
    deploy(small_bundle, client(server), "products")
    server.persistent.clear()
    since = len(server.calls)
    assert not deploy(small_bundle, client(server), "products", plan_only=True).plan.changes
    predicted = [call for call in server.calls[since:] if call.path.endswith("_predict")]
    asked, proved = 1, 1
    assert len(predicted) == 2 * (asked + proved)
    assert sum(call.path.endswith("models/_search") for call in server.calls[since:]) == 2, "each is looked for once"
