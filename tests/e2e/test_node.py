"""The embedded node, for real."""

from __future__ import annotations

import pytest

from osparse.deployer.node import node_status
from osparse.deployer.node_state import NodeStatus

pytestmark = pytest.mark.e2e


def test_the_fixture_is_a_running_node(node: NodeStatus) -> None:
    assert node_status(node.home).state == "running"
