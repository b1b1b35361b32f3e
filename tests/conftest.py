"""Fixtures shared by the rooms' tests: each is made once in a session and must not be changed by a test."""

from __future__ import annotations

import pytest
import world

from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return world.make_dataset(tmp_path_factory.mktemp("dataset") / "dataset")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return world.make_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="session")
def bundle(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Both formats of ``model``."""
    from osparse.packager import package

    return package(model, tmp_path_factory.mktemp("bundle") / "bundle")
