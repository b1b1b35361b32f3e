"""Two gloo processes against one: the same losses and gradients, whatever the shares, and the same training run."""

from __future__ import annotations

from pathlib import Path

import processes
import pytest
import small_run
import torch
import two_processes
from safetensors.torch import load_file

from osparse.contracts.dataset import Dataset
from osparse.trainer import run_folder, train
from osparse.trainer.compute import distributed
from osparse.trainer.report.run_log import read_log


@pytest.fixture(scope="module")
def folder(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds inputs without dropout, and what two processes made."""
    folder = tmp_path_factory.mktemp("two")
    small_run.write_inputs(folder / "inputs", dropout=0.0)
    script = Path(two_processes.__file__)
    processes.run_processes(script, 2, folder / "output", str(dataset.path), str(folder / "inputs"), str(folder))
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / "found.safetensors"))


@pytest.mark.parametrize("count", [1, 5, 8])
def test_a_global_loss_has_the_gradients_of_one_process(found: dict[str, torch.Tensor], count: int) -> None:
    """With 1 row the second process has none, with 5 the shares differ."""
    for name, value in two_processes.toy(count).items():
        torch.testing.assert_close(found[f"toy.{count}.{name}"], value, atol=1e-6, rtol=1e-6)


def test_gradient_caching_works_across_processes(found: dict[str, torch.Tensor]) -> None:
    for name, value in two_processes.toy(8).items():
        torch.testing.assert_close(found[f"cached.{name}"], value, atol=1e-6, rtol=1e-6)


def test_values_of_all_processes(found: dict[str, torch.Tensor]) -> None:
    assert found["values"].tolist() == [3.0, 1.0]
    assert found["objects"].tolist() == [10, 11] and found["main"].item() == 0


def test_both_stages_have_the_gradients_of_one_process(
    folder: Path, found: dict[str, torch.Tensor], dataset: Dataset
) -> None:
    alone = two_processes.stage_gradients(dataset.path, folder / "inputs")
    assert {name.split(".")[0] for name in alone} == {"mlm", "ranking"}
    assert set(alone) == {name.removeprefix("stage.") for name in found if name.startswith("stage.")}
    for name, value in alone.items():
        assert value.abs().max() > 0 or "token_type" in name or "position" in name, name
        torch.testing.assert_close(found[f"stage.{name}"], value, atol=1e-6, rtol=1e-5)


def test_micro_batches_have_the_gradients_of_the_whole(folder: Path, dataset: Dataset) -> None:
    whole = two_processes.stage_gradients(dataset.path, folder / "inputs")
    for parts in (["loop.micro_batch=1"], ["loop.micro_batch=4"], ["loop.gradient_checkpointing=true"]):
        for name, value in two_processes.stage_gradients(dataset.path, folder / "inputs", *parts).items():
            torch.testing.assert_close(value, whole[name], atol=1e-6, rtol=1e-5)


def test_a_run_of_two_processes_has_the_loss_curve_of_one(folder: Path, dataset: Dataset, tmp_path: Path) -> None:
    alone = train(folder / "inputs" / "run.yaml", dataset, tmp_path / "model")
    logs = [read_log(run_folder(path)) for path in (folder / "model", alone.path)]
    curves = [[(row["part"], row["step"], row["loss"]) for row in log if row["kind"] == "step"] for log in logs]
    assert len(curves[0]) >= 4
    for two, one in zip(*curves, strict=True):
        assert two[:2] == one[:2] and two[2] == pytest.approx(one[2], abs=1e-4)
    measured = [[row["ndcg"] for row in log if row["kind"] == "validation"] for log in logs]
    assert measured[0] == measured[1] and len(measured[0]) == 4


def test_shares_cover_all_rows_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "_size", lambda: 4)
    for count in (0, 1, 3, 4, 10):
        parts = [distributed.process_rows(count, rank) for rank in range(4)]
        assert [i for part in parts for i in range(count)[part]] == list(range(count))
        assert max(distributed._length(p) for p in parts) - min(distributed._length(p) for p in parts) <= 1


def test_one_process_is_the_identity() -> None:
    rows = torch.randn(3, 2, requires_grad=True)
    assert distributed.gather_rows(rows, 3) is rows and distributed.replicated(rows) is rows
    assert (
        distributed.process_rows(3) == slice(0, 3) and distributed.main_process() and distributed.sum_value(2.0) == 2.0
    )
    assert distributed.world().size == 1
