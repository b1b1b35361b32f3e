from .adoption_gate import adoption_gate
from .compare import Comparison, compare
from .evaluator import evaluate
from .explainer import Contrast, Explanation, explain
from .html_report.make import WrittenPage, write_html_report
from .judging.clicks import ClickJudgements, judge_clicks
from .judging.exchange import Exported, export_judgements
from .judging.import_judgements import Imported, import_judgements
from .judging.pool import Pool, pool
from .loadtest.load_report import LoadReport
from .loadtest.load_test import load_test
from .quality_gate import gate
from .report import Report
from .searcher import Hit, Match, Searcher, search
from .serving.settings import Feedback, Setting
from .tuning.known_items.fit import fit_fusion
from .tuning.known_items.result import FusionFit
from .tuning.result.plan import TuningPlan
from .tuning.tune import tune
from .why_not import WhyNot
from .workload.write_workload import Workload, write_workload

__all__ = [
    "ClickJudgements",
    "Comparison",
    "Contrast",
    "Explanation",
    "Exported",
    "Feedback",
    "FusionFit",
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
    "WrittenPage",
    "adoption_gate",
    "compare",
    "evaluate",
    "explain",
    "export_judgements",
    "fit_fusion",
    "gate",
    "import_judgements",
    "judge_clicks",
    "load_test",
    "pool",
    "search",
    "tune",
    "write_html_report",
    "write_workload",
]
