"""Refresh an index seldom while much is loaded into it, and as its owner wants afterwards.

What the owner wants is kept in the mapping's ``_meta`` meanwhile: a load that was killed leaves documents that become
visible within :data:`LOADING` all the same, and the next load puts things right.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from osparse.deployer.cluster.api import ClusterApi
from osparse.opensearch_templates import render

log = logging.getLogger("osparse.deployer.load.refresh")

META_KEY = "osparse_refresh"
SETTING = "index.refresh_interval"
LOADING = "30s"
"""Between two refreshes during a load: each makes a segment, and merges of small segments cost."""
MANY = 10_000
"""Documents; below it the change does not pay."""
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "micros": 1e-6, "nanos": 1e-9}


@contextmanager
def seldom_refreshed(api: ClusterApi, index: str, total: int | None) -> Iterator[None]:
    """For the time of the block, if ``total`` documents are many and the index refreshes more often than that."""
    meta = _meta(api, index)
    if META_KEY in meta:
        log.info("an earlier load into %s did not end: its refresh interval goes back to what it was", index)
    elif not _pays(api, index, total):
        yield
        return
    else:
        by_owner = api.get_index_settings(index).get(SETTING)
        api.put_mapping(index, render("index_meta", meta={**meta, META_KEY: by_owner}))
        api.put_index_settings(index, {SETTING: LOADING})
    try:
        yield
    finally:
        _restore(api, index)


def _pays(api: ClusterApi, index: str, total: int | None) -> bool:
    """An unknown number of documents is taken for many."""
    few = total is not None and total < MANY
    return not few and _seconds(api.get_index_settings(index).get(SETTING)) < _seconds(LOADING)


def _restore(api: ClusterApi, index: str) -> None:
    meta = _meta(api, index)
    if META_KEY in meta:  # another load may have been quicker
        api.put_index_settings(index, {SETTING: meta.pop(META_KEY)})
        api.put_mapping(index, render("index_meta", meta=meta))


def _meta(api: ClusterApi, index: str) -> dict[str, object]:
    found = (api.get_mapping(index) or {}).get(index, {})
    return dict(found.get("mappings", {}).get("_meta", {}))


def _seconds(interval: str | None) -> float:
    """Of a refresh interval; unset is one second, -1 never."""
    if interval is None:
        return 1.0
    found = re.fullmatch(r"(\d+)([a-z]+)", interval)
    return float(found[1]) * _SECONDS[found[2]] if found else float("inf")
