from .evaluator import evaluate_cluster, evaluate_model
from .explainer import Explanation, explain
from .quality_gate import gate
from .report import Report
from .searcher import Hit, Match, Searcher, search

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
    "search",
]
