from .adoption_gate import adoption_gate
from .compare import Comparison, compare
from .evaluator import evaluate
from .explainer import Contrast, Explanation, explain
from .html_report.make import WrittenPage, write_html_report
from .judging.clicks import ClickJudgements, judge_clicks
from .judging.exchange import Exported, export_judgements
from .judging.import_judgements import Imported, import_judgements
from .judging.interleave import Interleaved, interleave
from .judging.pool import Pool, pool
from .judging.preference import Preference, judge_preference
from .judging.team_draft import TeamDraft, team_draft
from .loadtest.load_report import LoadReport
from .loadtest.load_test import load_test
from .quality_gate import gate
from .report import Report
from .searcher import Searcher, search
from .serving.hits import Hit
from .serving.matches import Match
from .serving.settings import Feedback, Setting
from .suites.evaluate_suite import evaluate_suite
from .suites.suite_report import SuiteReport
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
    "Interleaved",
    "LoadReport",
    "Match",
    "Pool",
    "Preference",
    "Report",
    "Searcher",
    "Setting",
    "SuiteReport",
    "TeamDraft",
    "TuningPlan",
    "WhyNot",
    "Workload",
    "WrittenPage",
    "adoption_gate",
    "compare",
    "evaluate",
    "evaluate_suite",
    "explain",
    "export_judgements",
    "fit_fusion",
    "gate",
    "import_judgements",
    "interleave",
    "judge_clicks",
    "judge_preference",
    "load_test",
    "pool",
    "search",
    "team_draft",
    "tune",
    "write_html_report",
    "write_workload",
]
