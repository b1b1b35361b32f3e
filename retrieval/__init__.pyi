from .compare import Comparison, compare
from .evaluator import evaluate
from .explainer import Contrast, Explanation, explain
from .html_report.make import WrittenPage, write_html_report
from .judging.import_judgements import Imported, import_judgements
from .judging.pool import Pool, pool
from .quality_gate import gate
from .report import Report
from .searcher import Hit, Match, Searcher, search
from .serving.settings import Feedback, Setting
from .tuning.result.plan import TuningPlan
from .tuning.tune import tune
from .why_not import WhyNot

__all__ = [
    "Comparison",
    "Contrast",
    "Explanation",
    "Feedback",
    "Hit",
    "Imported",
    "Match",
    "Pool",
    "Report",
    "Searcher",
    "Setting",
    "TuningPlan",
    "WhyNot",
    "WrittenPage",
    "compare",
    "evaluate",
    "explain",
    "gate",
    "import_judgements",
    "pool",
    "search",
    "tune",
    "write_html_report",
]
