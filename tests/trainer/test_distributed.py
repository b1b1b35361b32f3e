"""Two gloo processes against one: the same losses and gradients, whatever the shares."""

from __future__ import annotations

from pathlib import Path

import processes
import pytest
import torch
import two_processes
from safetensors.torch import load_file

from osparse.trainer import distributed


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("two")
    processes.run_processes(Path(two_processes.__file__), 2, str(folder))
    return dict(load_file(folder / "found.safetensors"))


@pytest.mark.parametrize("count", [1, 5, 8])
def test_a_global_loss_has_the_gradients_of_one_process(found: dict[str, torch.Tensor], count: int) -> None:
    """With 1 row the second process has none, with 5 the shares differ."""
    for name, value in two_processes.toy(count).items():
        torch.testing.assert_close(found[f"{count}.{name}"], value, atol=1e-6, rtol=1e-6)


def test_gradient_caching_works_across_processes(found: dict[str, torch.Tensor]) -> None:
    for name, value in two_processes.toy(8).items():
        torch.testing.assert_close(found[f"cached.{name}"], value, atol=1e-6, rtol=1e-6)


def test_values_of_all_processes(found: dict[str, torch.Tensor]) -> None:
    assert found["values"].tolist() == [3.0, 1.0]
    assert found["objects"].tolist() == [10, 11] and found["main"].item() == 0


def test_shares_cover_all_rows_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "_size", lambda: 4)
    for count in (0, 1, 3, 4, 10):
        parts = [distributed.share(count, rank) for rank in range(4)]
        assert [i for part in parts for i in range(count)[part]] == list(range(count))
        assert max(distributed._length(p) for p in parts) - min(distributed._length(p) for p in parts) <= 1


def test_one_process_is_the_identity() -> None:
    rows = torch.randn(3, 2, requires_grad=True)
    assert distributed.gather_rows(rows, 3) is rows and distributed.replicated(rows) is rows
    assert distributed.share(3) == slice(0, 3) and distributed.main_process() and distributed.sum_value(2.0) == 2.0
    assert distributed.world().size == 1
