from .adoption_gate import adoption_gate
from .compare import Comparison, compare
from .evaluator import evaluate
from .explainer import Contrast, Explanation, explain
from .judging.import_judgements import Imported, import_judgements
from .judging.pool import Pool, pool
from .loadtest.load_report import LoadReport
from .loadtest.load_test import load_test
from .quality_gate import gate
from .report import Report
from .searcher import Hit, Match, Searcher, search
from .serving.settings import Feedback, Setting
from .tuning.result.plan import TuningPlan
from .tuning.tune import tune
from .why_not import WhyNot
from .workload.write_workload import Workload, write_workload

__all__ = [
    "Comparison",
    "Contrast",
    "Explanation",
    "Feedback",
    "Hit",
    "Imported",
    "LoadReport",
    "Match",
    "Pool",
    "Report",
    "Searcher",
    "Setting",
    "TuningPlan",
    "WhyNot",
    "Workload",
    "adoption_gate",
    "compare",
    "evaluate",
    "explain",
    "gate",
    "import_judgements",
    "load_test",
    "pool",
    "search",
    "tune",
    "write_workload",
]
