"""A small part of benchmarks/faults.py: whatever strikes a run, the next one leaves what an undisturbed run leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fault_trials import KILLS, TROUBLES, EmulatorGround, Trials
from fault_work import Undeploy, Work
from mlcommons_server import MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.deployer.load import bulk, bundle_store
from osparse.deployer.mlcommons import model_steps
from osparse.deployer.operate import removal

from .conftest import TEXTS


@pytest.fixture
def work(small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    for module, name in ((model_steps, "CHUNK"), (bundle_store, "CHUNK"), (bulk, "BACKOFF"), (bulk, "TRIES"),
                         (removal, "WAITS")):  # fmt: skip
        monkeypatch.setattr(module, name, getattr(module, name))  # the work changes them: put back at the end
    documents = tmp_path / "d.jsonl"
    rows = [{"id": f"d{n}", "text": f"{TEXTS[n % len(TEXTS)]} {n}"} for n in range(20)]
    documents.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Work(small_bundle.path, documents)


def test_every_kind_of_fault_is_recovered_from(server: MLCommonsServer, work: Work) -> None:
    trials = Trials(EmulatorGround(server), work)
    trials.prepare()
    found = list(trials.run(tuple(TROUBLES), every=73))
    assert len(found) >= 2 * len(TROUBLES) and {trial.kind for trial in found} == set(TROUBLES)
    assert [trial for trial in found if not trial.converged] == []
    assert any(trial.said for trial in found) and any(not trial.said for trial in found)


def test_a_process_that_is_killed_is_recovered_from(server: MLCommonsServer, work: Work) -> None:
    trials = Trials(EmulatorGround(server), work)
    trials.prepare()
    found = list(trials.run(KILLS, every=57))
    assert len(found) >= 4 and {trial.said for trial in found} == {"killed"}
    assert [trial for trial in found if not trial.converged] == []


def test_in_mode_client_too(core: MLCommonsServer, work: Work) -> None:
    trials = Trials(EmulatorGround(core), work)
    trials.prepare()
    found = list(trials.run(every=37))
    assert len(found) >= 5 and [trial for trial in found if not trial.converged] == []


def test_an_undeploy_is_recovered_from(server: MLCommonsServer, work: Work, other_bundle: Bundle) -> None:
    """Before each trial: a deploy and an upgrade; the undeploy then removes the first bundle's."""
    upgrade = Work(other_bundle.path, work.documents)
    trials = Trials(EmulatorGround(server), Undeploy(work.bundle, work.documents), (work, upgrade))
    trials.prepare()
    assert len([call for call in trials.calls if call.startswith("DELETE")]) >= 6
    found = list(trials.run(("dropped before sending", "answered 500", KILLS[1]), every=19))
    assert len(found) >= 5 and [trial for trial in found if not trial.converged] == []


def test_a_run_that_leaves_something_else_is_seen(core: MLCommonsServer, work: Work) -> None:
    """The trials have teeth: a document too few, a stray index."""
    trials = Trials(EmulatorGround(core), work)
    trials.prepare()
    trials.wanted["documents"][f"products-{work.bundle.name}"] = {"d0": "another"}
    (trial, *_) = trials.run(("answered 500",), every=100)
    assert not trial.converged and "documents" in trial.differences[0]
