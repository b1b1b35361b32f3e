"""Every configuration in configs/ reads, and says where its numbers come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from osparse.settings import read_settings
from osparse.trainer import TrainConfig

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_reads(path: Path) -> None:
    assert read_settings(TrainConfig, path).stages


def test_quickstart_keeps_its_promise_of_non_zeros() -> None:
    (path,) = (path for path in CONFIGS if path.stem == "quickstart")
    top_k = read_settings(TrainConfig, path).head.top_k
    assert top_k is not None and top_k <= 250
