"""What a refusal means, by the reason that the cluster gives: one status stands for many causes."""

from __future__ import annotations

import re
from typing import NamedTuple


class Meaning(NamedTuple):
    """Of a reason that is known."""

    advice: str
    lasting: bool
    """Whether the same request will be refused until somebody changes something: sending it again is no use."""


ALLOCATION = (
    "a shard has no node that serves it; GET /_cluster/allocation/explain says why. Start the node that held it, or "
    "restore the index from a snapshot"
)
"""What to do about a shard that is not allocated."""

_MEANINGS: tuple[tuple[str, Meaning], ...] = (
    (
        r"flood.stage|read.only.{1,3}allow.delete",
        Meaning(
            "a node's disk ran full, so the index takes no writes: free disk space; where the block does not go by "
            'itself, remove it with PUT /INDEX/_settings {"index.blocks.read_only_allow_delete": null}',
            lasting=True,
        ),
    ),
    (
        r"cluster read-only|cluster\.blocks\.read_only",
        Meaning(
            "the whole cluster is read-only, whoever asks: its administrator can end that with PUT /_cluster/settings "
            '{"persistent": {"cluster.blocks.read_only": null, "cluster.blocks.read_only_allow_delete": null}}',
            lasting=True,
        ),
    ),
    (
        r"blocked by: \[FORBIDDEN/",
        Meaning(
            "the index is blocked, whoever asks: look at GET /INDEX/_settings/index.blocks.* and set the block to null",
            lasting=True,
        ),
    ),
    (
        r"index_closed_exception|\bclosed index \[",
        Meaning("the index is closed: osparse status says how it is opened", lasting=True),
    ),
    (
        r"Model not ready yet|Failed to find model(?! (group|chunk|to update))",
        Meaning("the model is not deployed or was deleted: deploy it again with osparse status --heal", lasting=True),
    ),
    (
        r"\Aall shards failed\Z",
        Meaning(ALLOCATION, lasting=False),
    ),  # while a node starts, its shards come by themselves
)


def meaning_of(reason: str) -> Meaning | None:
    """None where the reason is not a known one, and the status has to do."""
    return next((known for pattern, known in _MEANINGS if re.search(pattern, reason, re.IGNORECASE)), None)
