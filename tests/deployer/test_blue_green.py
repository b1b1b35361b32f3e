"""A new bundle takes over a name: filled, gated, switched, rolled back, and the old one removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlcommons_http import Request
from mlcommons_server import Fault, MLCommonsServer, mlcommons_server

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import FIELD
from osparse.deployer import Gate, Upgrade, deploy, index_documents, rollback, undeploy
from osparse.deployer.index.layout import Serving
from osparse.errors import CheckError, InputError, OsparseError

from .conftest import TEXTS, client, stands_on


def weights(server: MLCommonsServer, bundle: Bundle) -> list[dict[str, float]]:
    rows = server.indices[f"products-{bundle.short}"].documents
    return [rows[str(n)].get(FIELD, {}) for n in range(len(TEXTS))]


def test_a_new_bundle_takes_the_name_over(
    running: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, documents: Path
) -> None:
    cluster = client(running)
    deploy(small_bundle, cluster, "products")
    index_documents(cluster, "products", [documents])
    cluster.request("PUT", "/products/_doc/hand?refresh=true", body={"text": "growing", "price": 3})
    planned = deploy(other_bundle, cluster, "products", plan_only=True)
    assert [f.action for f in planned.plan.findings[-2:]] == ["change", "change"] and "6 there, 0 here" in str(planned)
    assert stands_on(running) == [f"products-{small_bundle.short}"] and len(running.indices) == 2
    result = deploy(other_bundle, cluster, "products")
    assert stands_on(running) == [result.plan.index] == [f"products-{other_bundle.short}"]
    assert stands_on(running, "products-previous") == [f"products-{small_bundle.short}"]
    assert any("6 here, 6 in the old" in line for line in result.gate) and "gate: weights" in str(result)
    new = running.indices[result.plan.index].documents
    assert new["hand"]["price"] == 3 and new["4"]["text"] == " " and FIELD not in new["4"]
    style = result.deployment.key_style
    for found, probe in zip(weights(running, other_bundle), other_bundle.probes(), strict=True):
        assert sum(found.values()) == pytest.approx(sum(probe.document.values()), abs=1e-3), style
    again = deploy(other_bundle, cluster, "products")
    assert not again.plan.changes and again.seconds < 2
    load = index_documents(cluster, "products", [documents])
    assert (load.indexed, load.unchanged) == (0, 5)


def test_what_the_old_index_does_not_show_yet_comes_along(
    core: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents are found after a refresh only: here one was written before the upgrade and one while it copies."""
    cluster = client(core)
    deploy(small_bundle, cluster, "products")
    old = core.indices[f"products-{small_bundle.short}"]
    waiting = [{"a": {"text": "growing"}}, {"b": {"text": "pears"}}]
    plain = core.refresh

    def refresh(request: Request) -> object:
        if request.parts[0] == old.name and waiting:
            for i, source in waiting.pop(0).items():
                old.put(i, dict(source))
        return plain(request)

    monkeypatch.setattr(core, "refresh", refresh)
    result = deploy(other_bundle, cluster, "products")
    assert core.indices[result.plan.index].documents.keys() == {"a", "b"}


@pytest.mark.parametrize("times", [1, 2, 9])
def test_what_is_written_during_the_gate_comes_along(
    core: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, documents: Path, times: int
) -> None:
    """An update leaves the number of documents as it is; a writer that never stops keeps the alias where it is."""
    cluster = client(core)
    deploy(small_bundle, cluster, "products")
    index_documents(cluster, "products", [documents])
    old, new = (f"products-{bundle.short}" for bundle in (small_bundle, other_bundle))
    plain, written = core.shard_stats, 0

    def measure(index: str) -> float:
        if index == old:
            core.indices[old].put("0", {"text": "pears"})
        return 0.5

    def shard_stats(request: Request) -> object:
        nonlocal written
        if stands_on(core) == [old] and core.indices[old].documents["0"]["text"] != TEXTS[0] and written < times - 1:
            written += 1
            core.indices[old].put("0", {"text": f"pears {written}"})
        return plain(request)

    core.shard_stats = shard_stats  # type: ignore[method-assign]
    upgrade = Upgrade(gate=Gate(measure, "judged"))
    if times > 4:
        with pytest.raises(CheckError, match=r"was written to during each of 3 further passes .*Pause what writes"):
            deploy(other_bundle, cluster, "products", upgrade=upgrade)
        assert stands_on(core) == [old]
        return
    deploy(other_bundle, cluster, "products", upgrade=upgrade)
    assert stands_on(core) == [new]
    assert core.indices[new].documents["0"]["text"] == core.indices[old].documents["0"]["text"]


def test_a_copy_whose_every_pass_copied_something_is_continued(
    core: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    """One document is written during each of four passes, after its page was read."""
    cluster = client(core)
    deploy(small_bundle, cluster, "products")
    old = core.indices[f"products-{small_bundle.short}"]
    old.put("0", {"text": "growing"})
    waiting, plain = [{"text": f"pears {n}"} for n in range(4)], core.bulk

    def bulk(request: Request) -> object:
        if waiting and request.parts[0] == f"products-{other_bundle.short}":
            old.put("0", waiting.pop(0))
        return plain(request)

    core.bulk = bulk  # type: ignore[method-assign]
    result = deploy(other_bundle, cluster, "products")
    assert core.indices[result.plan.index].documents["0"]["text"] == "pears 3"


def test_a_pipeline_that_skips_what_is_stored_passes_the_gate(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, documents: Path
) -> None:
    cluster, serving = client(server), Serving(skip_existing=True)
    deploy(small_bundle, cluster, "products", serving=serving)
    index_documents(cluster, "products", [documents])
    result = deploy(other_bundle, cluster, "products", serving=serving)
    assert stands_on(server) == [result.plan.index] and "as proved through its pipeline" in str(result.gate)


def test_a_gate_that_does_not_hold_moves_nothing(
    core: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, documents: Path
) -> None:
    cluster = client(core)
    deploy(small_bundle, cluster, "products")
    index_documents(cluster, "products", [documents])
    figures = {f"products-{small_bundle.short}": 0.5, f"products-{other_bundle.short}": 0.49}
    with pytest.raises(CheckError, match=r"0.4900, 0.5000 in the old index: lower by more than the margin 0.005"):
        deploy(other_bundle, cluster, "products", upgrade=Upgrade(gate=Gate(figures.__getitem__, "judged")))
    with pytest.raises(CheckError, match="holds 0 documents, .* holds 5"):
        core.indices[f"products-{other_bundle.short}"].documents.clear()
        deploy(other_bundle, cluster, "products", upgrade=Upgrade(copy=False))
    assert stands_on(core) == [f"products-{small_bundle.short}"]
    result = deploy(
        other_bundle, cluster, "products", upgrade=Upgrade(gate=Gate(figures.__getitem__, "judged", margin=0.02))
    )
    assert stands_on(core) == [f"products-{other_bundle.short}"] and "nDCG@10 on judged: 0.4900" in str(result)


@pytest.mark.parametrize(
    ("before", "after", "margin", "said"),
    [
        (0.0, 0.0, 0.005, "is 0.0000 in products-.*no loss could be seen"),
        (0.0, 0.9, 0.0, "is 0.0000 in products-.*no loss could be seen"),
        (float("nan"), 0.9, 0.005, "is nan in products-.*no loss could be seen"),
        (0.004, 0.0, 0.005, "is 0.0040 .*not above the margin of 0.005"),
        (0.3, 0.29, 0.3, "is 0.3000 .*not above the margin of 0.3"),
        (0.9, float("nan"), 0.005, "nan, 0.9000 in the old index: lower"),
    ],
)
def test_a_gate_that_cannot_fail_does_not_hold(
    core: MLCommonsServer,
    small_bundle: Bundle,
    other_bundle: Bundle,
    documents: Path,
    before: float,
    after: float,
    margin: float,
    said: str,
) -> None:
    cluster = client(core)
    deploy(small_bundle, cluster, "products")
    index_documents(cluster, "products", [documents])
    figures = {f"products-{small_bundle.short}": before, f"products-{other_bundle.short}": after}
    with pytest.raises(CheckError, match=said):
        deploy(other_bundle, cluster, "products", upgrade=Upgrade(gate=Gate(figures.__getitem__, "judged", margin)))
    assert stands_on(core) == [f"products-{small_bundle.short}"]


def test_a_margin_of_one_allows_any_loss(
    core: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, documents: Path
) -> None:
    cluster = client(core)
    deploy(small_bundle, cluster, "products")
    index_documents(cluster, "products", [documents])
    figures = {f"products-{small_bundle.short}": 0.5, f"products-{other_bundle.short}": 0.1}
    deploy(other_bundle, cluster, "products", upgrade=Upgrade(gate=Gate(figures.__getitem__, "judged", 1.0)))
    assert stands_on(core) == [f"products-{other_bundle.short}"]


def test_weights_that_were_not_proved_keep_the_gate_shut(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    """The new index's pipeline names the old encoder: the models are right, what is indexed is not."""
    cluster = client(server)
    deploy(small_bundle, cluster, "products")
    deploy(other_bundle, cluster, "products", upgrade=Upgrade(stage=True))
    old, new = (server.ingest[f"osparse-tiny-{b.short}-ingest"] for b in (small_bundle, other_bundle))
    right = new["processors"][1]["sparse_encoding"]["model_id"]
    plain = server.through
    wrong = old["processors"][1]["sparse_encoding"]["model_id"]

    def through(pipeline: object, source: dict[str, object], *how: object) -> dict[str, object]:
        text = json.dumps(pipeline).replace(right, wrong)
        return plain(json.loads(text), source, *how)  # type: ignore[arg-type]

    server.through = through  # type: ignore[method-assign, assignment]
    with pytest.raises(CheckError, match="makes of a text is not the proved one"):
        deploy(other_bundle, cluster, "products")
    assert stands_on(server) == [f"products-{small_bundle.short}"]


def test_staging_makes_the_index_and_stops(
    running: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, documents: Path
) -> None:
    cluster = client(running)
    deploy(small_bundle, cluster, "products")
    index_documents(cluster, "products", [documents])
    staged = deploy(other_bundle, cluster, "products", upgrade=Upgrade(stage=True))
    assert staged.staged_beside in stands_on(running) and f"--index {staged.plan.index}" in str(staged)
    assert "--index products --no-copy" in str(staged), "or what was loaded would be copied over"
    assert not running.indices[staged.plan.index].documents
    assert index_documents(cluster, staged.plan.index, [documents]).indexed == 5
    assert deploy(other_bundle, cluster, "products", upgrade=Upgrade(copy=False)).gate
    assert stands_on(running) == [staged.plan.index]


def test_a_staged_index_is_neither_rolled_back_to_nor_cleared_away(
    core: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, documents: Path
) -> None:
    """It has not passed the gate, and may be loaded at this moment."""
    cluster = client(core)
    deploy(small_bundle, cluster, "products")
    staged = deploy(other_bundle, cluster, "products", upgrade=Upgrade(stage=True)).plan.index
    index_documents(cluster, staged, [documents])
    with pytest.raises(InputError, match="nothing to go back to"):
        rollback(cluster, "products")
    assert stands_on(core) == [f"products-{small_bundle.short}"]
    assert undeploy(cluster, "products", keep=1).kept == [staged] and len(core.indices[staged].documents) == 5
    assert undeploy(cluster, "products", keep=0).removed and staged not in core.indices


@pytest.mark.parametrize("kind", ["drop", "lose"])
def test_an_upgrade_killed_at_any_call_converges(
    kind: str, small_bundle: Bundle, other_bundle: Bundle, documents: Path
) -> None:
    """At every moment exactly one index is served; the next run finishes; the old one is where it was."""

    def start(server: MLCommonsServer) -> int:
        deploy(small_bundle, client(server), "products")
        index_documents(client(server), "products", [documents])
        return len(server.calls)

    with mlcommons_server(plugins=()) as whole:
        first = start(whole)
        deploy(other_bundle, client(whole), "products")
        wanted, calls = whole.state(), whole.calls[first:]
    writes = [call.number for call in calls if call.method == "PUT" or call.path.endswith(("_bulk", "_aliases"))]
    assert len(writes) >= 5
    for k in writes:
        with mlcommons_server(plugins=()) as server:
            start(server)
            server.faults = [Fault(kind, calls=range(k, k + 1)), Fault("drop", calls=range(k + 1, 10_000))]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("osparse.deployer.load.bulk.TRIES", 1)
                patch.setattr("osparse.deployer.index.copy.RESTARTS", 1)
                try:
                    deploy(other_bundle, client(server, retries=0), "products")
                except OsparseError:
                    assert len(stands_on(server)) == 1, f"{kind} at call {k}"
            server.faults = []
            deploy(other_bundle, client(server), "products")
            assert server.state() == wanted, f"{kind} at call {k}"
