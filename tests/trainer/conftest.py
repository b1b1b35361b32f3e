"""Fixtures of the training tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import small_run
import torch

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model


@pytest.fixture(scope="session")
def yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run.write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="session")
def trained(yaml: Path, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The uninterrupted run; its run folder is there too."""
    from osparse.trainer import train

    return train(yaml, dataset, tmp_path_factory.mktemp("trained") / "model")


@pytest.fixture(autouse=True)
def keep_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
