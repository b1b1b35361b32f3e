"""a deployed index or a model, asked, explained and measured.

    cluster = osparse.deployer.open_cluster("http://127.0.0.1:9210")
    ask(cluster, "products", "동영상 편집기", top=3)
    report = evaluate_cluster(cluster, "products", open_benchmark("build/dataset"), baseline="bm25")

The names in ``__all__`` are the room's public face; each is imported when it is first used. ``ask`` is ``search`` of
``osparse.retrieval.search`` and ``why`` is ``explain`` of ``osparse.retrieval.explain``: names that no module has.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from osparse.evaluation import open_benchmark
    from osparse.retrieval.evaluate import evaluate_cluster, evaluate_model
    from osparse.retrieval.explain import Explanation
    from osparse.retrieval.explain import explain as why
    from osparse.retrieval.report import Report
    from osparse.retrieval.search import Hit, Match, Searcher
    from osparse.retrieval.search import search as ask

__all__ = [
    "Explanation",
    "Hit",
    "Match",
    "Report",
    "Searcher",
    "ask",
    "evaluate_cluster",
    "evaluate_model",
    "open_benchmark",
    "why",
]

_HOME = {
    "Explanation": ("osparse.retrieval.explain", "Explanation"),
    "Hit": ("osparse.retrieval.search", "Hit"),
    "Match": ("osparse.retrieval.search", "Match"),
    "Report": ("osparse.retrieval.report", "Report"),
    "Searcher": ("osparse.retrieval.search", "Searcher"),
    "ask": ("osparse.retrieval.search", "search"),
    "evaluate_cluster": ("osparse.retrieval.evaluate", "evaluate_cluster"),
    "evaluate_model": ("osparse.retrieval.evaluate", "evaluate_model"),
    "open_benchmark": ("osparse.evaluation", "open_benchmark"),
    "why": ("osparse.retrieval.explain", "explain"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOME[name]
    return getattr(importlib.import_module(module), attribute)
