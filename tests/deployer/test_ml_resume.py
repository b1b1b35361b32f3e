"""What an earlier run left is gone on with; models fetched by the server; reasons with remedies, at once."""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from mlcommons_http import Request
from mlcommons_server import Fault, MLCommonsServer, mlcommons_server

from osparse.contracts.bundle import Bundle
from osparse.deployer import ModelOptions, deploy, status
from osparse.deployer.mlcommons import model_steps, tasks
from osparse.errors import ClusterError, InputError

from .conftest import client


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def files(small_bundle: Bundle) -> Iterator[str]:
    """The bundle's folder on a web server."""
    handler = functools.partial(Quiet, directory=str(small_bundle.path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


def chunks_sent(server: MLCommonsServer, since: int = 0) -> list[int]:
    sent = [call for call in server.calls[since:] if "upload_chunk" in call.path and call.status == 200]
    return [int(call.path.rsplit("/", 1)[1]) for call in sent]


def test_only_the_missing_chunks_are_sent(
    server: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_steps, "CHUNK", 100_000)
    server.faults = [Fault("drop", matching="upload_chunk/3", times=99)]
    with pytest.raises(ClusterError):
        deploy(small_bundle, client(server, retries=0), "products")
    assert chunks_sent(server) == [0, 1, 2]
    server.faults, since = [], len(server.calls)
    (model_id,) = server.models
    del server.chunks[model_id][1]
    deploy(small_bundle, client(server), "products")
    last = -(-small_bundle.files["onnx"].size // 100_000) - 1
    assert chunks_sent(server, since)[: last - 1] == [1, *range(3, last + 1)], "and the last one last"
    assert model_id in server.models and len(server.models) == 2


def test_a_registration_cut_otherwise_is_made_anew(
    server: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(model_steps, "CHUNK", 100_000)
        server.faults = [Fault("drop", matching="upload_chunk/3", times=99)]
        with pytest.raises(ClusterError):
            deploy(small_bundle, client(server, retries=0), "products")
    server.faults = []
    (left,) = server.models
    deploy(small_bundle, client(server), "products")
    assert left not in server.models and len(server.models) == 2 and status(client(server), "products")[0].ready


def test_models_come_by_url(small_bundle: Bundle, files: str) -> None:
    with mlcommons_server(settings={}) as server:
        refused = "allow_registering_model_via_url"
        with pytest.raises(ClusterError, match=refused):
            deploy(small_bundle, client(server), "products", models=ModelOptions(via_url=files))
        result = deploy(
            small_bundle,
            client(server),
            "products",
            models=ModelOptions(via_url=files, allow_settings=True),
        )
        assert result.applied and not chunks_sent(server) and status(client(server), "products")[0].ready
        assert "plugins.ml_commons.allow_registering_model_via_local_file" not in server.persistent
        assert not deploy(small_bundle, client(server), "products", models=ModelOptions(via_url=files)).plan.changes
        assert not deploy(small_bundle, client(server), "products").plan.changes, "how they came is forgotten"


def test_a_url_that_does_not_work_is_told(
    server: MLCommonsServer, small_bundle: Bundle, files: str, make_bundle: Callable[..., Bundle]
) -> None:
    server.persistent["plugins.ml_commons.allow_registering_model_via_url"] = "true"
    with pytest.raises(
        ClusterError, match=r"encoder.onnx.zip: Connection refused; what to do: .* as seen from the nodes"
    ):
        deploy(small_bundle, client(server), "products", models=ModelOptions(via_url="http://127.0.0.1:9/"))
    elsewhere = f"{files}elsewhere"
    with pytest.raises(ClusterError, match=r"elsewhere/encoder.onnx.zip: the address gives no such file; check"):
        deploy(small_bundle, client(server), "products", models=ModelOptions(via_url=elsewhere))
    with pytest.raises(ClusterError, match="the file at the address is not this bundle's"):
        deploy(make_bundle("tiny", 5), client(server), "products", models=ModelOptions(via_url=files))
    assert not server.models
    server.persistent["plugins.ml_commons.trusted_url_regex"] = "^https://ours/.*"
    with pytest.raises(InputError, match="does not trust http"):
        deploy(small_bundle, client(server), "products", models=ModelOptions(via_url=files))


def test_a_fetch_the_server_gave_up_is_begun_anew(
    server: MLCommonsServer, small_bundle: Bundle, files: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node stopped while it fetched: the model stays REGISTERING, without chunks or checksum."""
    monkeypatch.setattr(tasks, "SETTLE_SECONDS", 0.1)
    server.persistent["plugins.ml_commons.allow_registering_model_via_url"] = "true"
    name = f"tiny-{small_bundle.short}-encoder"
    server.groups["g"] = {"name": "osparse-tiny", "latest_version": 1}
    server.models["left"] = {"name": name, "model_group_id": "g", "model_state": "REGISTERING"}
    server.chunks["left"] = {}
    deploy(small_bundle, client(server), "products", models=ModelOptions(via_url=files))
    assert "left" not in server.models and len(server.models) == 2


def test_an_open_breaker_is_said_at_once(server: MLCommonsServer, small_bundle: Bundle) -> None:
    server.refuse_deploy = "Native Memory Circuit Breaker is open, please check your resources!"
    started = time.monotonic()
    with pytest.raises(ClusterError, match="native_memory_threshold"):
        deploy(small_bundle, client(server, retries=6), "products")
    assert time.monotonic() - started < 1
    assert len([call for call in server.calls if call.path.endswith("_deploy")]) == 1
    server.refuse_deploy = ""
    deploy(small_bundle, client(server), "products")


def test_a_refused_registration_names_the_setting(small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osparse.deployer.mlcommons.settings_step.needed_settings", lambda *_: {})
    with mlcommons_server(settings={}) as server, pytest.raises(ClusterError, match="`allow_settings=True`"):
        deploy(small_bundle, client(server), "products")


def test_a_task_that_runs_on_after_its_model_failed(
    server: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name too long for a file does that: ten minutes of RUNNING."""
    monkeypatch.setattr(tasks, "MODEL_SECONDS", 0.05)
    monkeypatch.setattr(tasks, "FAILED_SECONDS", 0.1)
    server.task_seconds = 30
    plain = server.model_deploy

    def failing(request: object) -> object:
        answer = plain(request)  # type: ignore[arg-type]
        for model in server.models.values():
            server._soon(0.1, functools.partial(model.update, model_state="DEPLOY_FAILED"))
        return answer

    monkeypatch.setattr(server, "model_deploy", failing)
    started = time.monotonic()
    with pytest.raises(ClusterError, match="DEPLOY_FAILED and its task gives no reason"):
        deploy(small_bundle, client(server), "products")
    assert time.monotonic() - started < 5


def test_a_second_deploy_that_fails_does_not_end_the_first(
    server: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Just started, the node deploys the model too: that fails (Duplicate deploy model task), and the model says so."""
    monkeypatch.setattr(tasks, "MODEL_SECONDS", 0.0)
    server.task_seconds = 0.4
    plain = server.model_deploy

    def doubled(request: Request) -> object:
        answer = plain(request)
        model = server.models[request.parts[0]]
        server._soon(0.1, functools.partial(model.update, model_state="DEPLOY_FAILED"))
        return answer

    monkeypatch.setattr(server, "model_deploy", doubled)
    deploy(small_bundle, client(server), "products")
    assert {model["model_state"] for model in server.models.values()} == {"DEPLOYED"}


def test_some_nodes_failing_is_a_warning_with_their_names(
    server: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mlcommons_state import NODE

    plain = server.task_get

    def partly(request: object) -> object:
        found = plain(request)  # type: ignore[arg-type]
        if found["state"] != "COMPLETED":
            return found
        return {**found, "state": "COMPLETED_WITH_ERROR", "error": f'{{"{NODE}": "Exceed max local model per node"}}'}

    monkeypatch.setattr(server, "task_get", partly)
    with caplog.at_level("WARNING", "osparse.deployer"):
        deploy(small_bundle, client(server), "products")
    assert re.search(r"node n1: Exceed max local model.*\n.*max_model_on_node", caplog.text)


def copied(server: MLCommonsServer, model_id: str, **changes: str) -> str:
    """Another model of the same name and content, as two deploys at once leave it."""
    new = f"{model_id}-2"
    server.models[new] = {**server.models[model_id], **changes}
    server.chunks[new] = dict(server.chunks[model_id])
    if changes.get("model_state", "DEPLOYED") in ("DEPLOYED", "PARTIALLY_DEPLOYED"):
        server.runtimes[new] = server.runtimes[model_id]
    return new


@pytest.mark.parametrize("state", ["DEPLOYED", "PARTIALLY_DEPLOYED", "DEPLOYING"])
def test_a_model_that_answers_is_never_deleted(server: MLCommonsServer, small_bundle: Bundle, state: str) -> None:
    deploy(small_bundle, client(server), "products")
    first = next(iter(server.models))
    second = copied(server, first, model_state=state)
    result = deploy(small_bundle, client(server), "products")
    assert not result.plan.changes and f"in use and is left: id {second}, {state}" in str(result)
    assert {first, second} <= server.models.keys() and first in server.runtimes


@pytest.mark.parametrize("kind", ["ingest", "pipelines"])
def test_a_model_that_a_pipeline_names_is_never_deleted(
    server: MLCommonsServer, small_bundle: Bundle, kind: str
) -> None:
    deploy(small_bundle, client(server), "products")
    second = copied(server, next(iter(server.models)), model_state="DEPLOY_FAILED")
    getattr(server, kind)["theirs"] = {"processors": [{"any": {"deep": [{"model_id": second}]}}]}
    result = deploy(small_bundle, client(server), "products")
    assert second in server.models and f"left: id {second}, DEPLOY_FAILED" in str(result)
    del getattr(server, kind)["theirs"]
    result = deploy(small_bundle, client(server), "products")
    assert second not in server.models and "unfinished copies of it are deleted" in str(result)


def test_of_two_models_the_one_that_is_wired_is_kept(server: MLCommonsServer, small_bundle: Bundle) -> None:
    """Whatever order the server lists them in, a second deploy does not wire the pipelines to the other one."""
    deploy(small_bundle, client(server), "products")
    for model_id in list(server.models):
        copied(server, model_id)
    server.models = dict(reversed(server.models.items()))
    assert not deploy(small_bundle, client(server), "products").plan.changes
