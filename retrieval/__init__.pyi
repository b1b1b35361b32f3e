from .compare import Comparison, compare
from .evaluator import evaluate
from .explainer import Explanation, explain
from .quality_gate import gate
from .report import Report
from .searcher import Hit, Match, Searcher, search

__all__ = [
    "Comparison",
    "Explanation",
    "Hit",
    "Match",
    "Report",
    "Searcher",
    "compare",
    "evaluate",
    "explain",
    "gate",
    "search",
]
