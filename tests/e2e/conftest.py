"""The real node, once for the whole session: `node.url` and `node.home`. A test that needs it is marked ``e2e``.

``OSPARSE_TEST_OPENSEARCH=3.9.0`` in the environment runs the tests on another version than the default one.
Tests share it: use an index name of your own and delete the index afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from osparse.deployer.node.node import node_down, node_up
from osparse.deployer.node.state import NodeStatus


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeStatus]:
    """A node on a free port; stopped at the end, and also if the test process itself is killed."""
    home = tmp_path_factory.mktemp("node") / "home"
    try:
        yield node_up(home, port=0, tied=True, version=os.environ.get("OSPARSE_TEST_OPENSEARCH"))
    finally:
        node_down(home)
