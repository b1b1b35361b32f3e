"""A bundle made without torch."""

from __future__ import annotations

import pytest
from lookup_bundle import make_lookup_bundle

from osparse.contracts.bundle import Bundle


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_lookup_bundle(tmp_path_factory.mktemp("served"))
