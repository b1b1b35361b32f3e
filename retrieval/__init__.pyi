from .compare import Comparison, compare
from .evaluator import evaluate
from .explainer import Explanation, explain
from .judging.import_judgements import Imported, import_judgements
from .judging.pool import Pool, pool
from .quality_gate import gate
from .report import Report
from .searcher import Hit, Match, Searcher, search

__all__ = [
    "Comparison",
    "Explanation",
    "Hit",
    "Imported",
    "Match",
    "Pool",
    "Report",
    "Searcher",
    "compare",
    "evaluate",
    "explain",
    "gate",
    "import_judgements",
    "pool",
    "search",
]
