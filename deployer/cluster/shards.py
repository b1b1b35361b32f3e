"""Whether every shard of an index took part in an answer: what is on the others is missing from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from osparse.deployer.cluster.client import reason_of
from osparse.deployer.cluster.reasons import ALLOCATION
from osparse.errors import ClusterError


def check_shards(index: str, body: Mapping[str, Any]) -> None:
    """Check ``_shards`` of a search or a count, as far as the answer has it.

    A shard without a node that holds it is neither in ``failed`` nor in ``failures``: ``successful`` alone lacks it.
    Skipped shards are counted in ``successful``.

    Raises:
        ClusterError: a shard did not answer.
    """
    shards = body.get("_shards") or {}
    failures, total = shards.get("failures"), int(shards.get("total", 0))
    answered = int(shards.get("successful", total))
    if failures or answered < total:
        reason = reason_of(failures[0].get("reason")) if failures else ALLOCATION
        raise ClusterError(f"{index}: {answered} of {total} shards answered; documents are missing: {reason}")
