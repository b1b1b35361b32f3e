"""The body of an index that is to hold another one's documents with their vectors, as large and with equal scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from osparse.opensearch_templates import render

_KEPT_SETTINGS = ("analysis", "number_of_shards", "sparse", "codec", "similarity")
"""Of an index, those that decide its size and its scores; pipelines are left out, since documents have weights."""


def body_of_copy(original: Mapping[str, Any], meta: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The original's mappings and what of its settings decides size and scores.

    Args:
        original: What ``GET INDEX`` shows of one index.
        meta: The copy's ``_meta``; None leaves it without one.
    """
    own = original["settings"]["index"]
    settings = {name: own[name] for name in _KEPT_SETTINGS if name in own}
    mappings = {name: value for name, value in original["mappings"].items() if name != "_meta"}
    if meta is not None:
        mappings |= render("index_meta", meta=meta)
    return dict(render("index_copy", settings=settings, mappings=mappings))
