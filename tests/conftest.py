"""Fixtures shared by the packages' tests: each is made once in a session and must not be changed by a test.

A test without the mark ``network`` may connect to this machine only.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator

import network_guard
import pytest
import world

from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model


def pytest_sessionstart() -> None:
    """Collecting the tests imports torch and transformers, whose objects stay: looking for garbage finds none."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Leave what was imported out of every later collection of garbage: a seventh of the processor time."""
    gc.enable()
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.enable()
    gc.unfreeze()


def pytest_report_collectionfinish(items: list[pytest.Item]) -> list[str]:
    """What the tests that are about to run will fetch."""
    needed = any(item.get_closest_marker("network") for item in items)
    return network_guard.planned_downloads() if needed else []


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("network"):
        yield
        return
    with pytest.MonkeyPatch.context() as monkeypatch, network_guard.only_this_machine(monkeypatch):
        yield


@pytest.fixture(autouse=True)
def library_logging() -> Iterator[None]:
    """A command sets osparse's logger up for the terminal; the next test reads notes through pytest again."""
    yield
    logger = logging.getLogger("osparse")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)


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
