"""A deployed index or a model, asked, explained and measured.

cluster = osparse.deployer.open_cluster("http://127.0.0.1:9210")
search(cluster, "products", "동영상 편집기", top=3)
report = evaluate_cluster(cluster, "products", open_benchmark("build/dataset"), baseline="bm25")
"""

from __future__ import annotations

from osparse.evaluation import open_benchmark
from osparse.retrieval.evaluate import evaluate_cluster, evaluate_model
from osparse.retrieval.explaining import Explanation, explain
from osparse.retrieval.gating import gate
from osparse.retrieval.report import Report
from osparse.retrieval.searching import Hit, Match, Searcher, search

__all__ = [
    "Explanation",
    "Hit",
    "Match",
    "Report",
    "Searcher",
    "evaluate_cluster",
    "evaluate_model",
    "explain",
    "gate",
    "open_benchmark",
    "search",
]
