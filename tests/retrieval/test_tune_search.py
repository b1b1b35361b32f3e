"""Budgets, halving, the choice and its words, the plan's file."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from osparse.errors import InputError
from osparse.io.files import output_folder
from osparse.retrieval.serving.settings import Feedback, Hybrid, Pruning, QueryWeights, Setting, TwoPhase
from osparse.retrieval.tuning.budgets import parse_budget, parse_budgets
from osparse.retrieval.tuning.halving import Halving, Trial, dominates, layered, rungs
from osparse.retrieval.tuning.questions import Question, values
from osparse.retrieval.tuning.result.choice import Point, choose, front, p_values, verdict
from osparse.retrieval.tuning.result.output import FILES, page, write_output
from osparse.retrieval.tuning.result.picture import near_places
from osparse.retrieval.tuning.result.plan import TuningPlan
from osparse.retrieval.tuning.search import PRUNED, Search, finalists
from osparse.retrieval.tuning.space import Abilities, combined, stages


@pytest.mark.parametrize(
    ("text", "quantity", "limit"),
    [
        ("p95<=20ms", "p95", 20.0),
        (" p95 <= 0.5 s ", "p95", 500.0),
        ("size<=2GB", "size", 2e9),
        ("size<=1.5MiB", "size", 1.5 * 2**20),
    ],
)
def test_budgets(text: str, quantity: str, limit: float) -> None:
    budget = parse_budget(text)
    assert (budget.quantity, budget.limit, budget.text) == (quantity, limit, text.strip())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("p95<20ms", "must be like p95<=20ms or size<=2GB, got 'p95<20ms'"),
        ("", "must be like"),
        ("p99<=20ms", "can limit p95 and size, got 'p99'"),
        ("p95<=20", "needs one of the units ms, s, got none"),
        ("size<=20ms", "needs one of the units B, kB, MB"),
        ("size<=2gb", "got 'gb'"),
        ("p95<=0ms", "must be a number above 0, got '0'"),
        ("p95<=1.2.3ms", "must be a number above 0, got '1.2.3'"),
        ("p95<=-3ms", "must be like"),
    ],
)
def test_what_is_no_budget(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        parse_budget(text)


def test_two_limits_of_one_quantity() -> None:
    assert len(parse_budgets(["p95<=1ms", "size<=1MB"])) == 2
    with pytest.raises(InputError, match="two limits for p95"):
        parse_budgets(["p95<=1ms", "p95<=2ms"])


def asked(count: int) -> list[Question]:
    return [Question(f"q{i}", f"text {i}", None, "en->en", {"d": 1}) for i in range(count)]


class Table:
    """A ranker whose settings are as good as their power says: that share of the queries is answered at rank 1."""

    def __init__(self) -> None:
        self.asked = 0

    def rankings(self, setting: Setting, asked: Sequence[Question]) -> list[list[str]]:
        self.asked += len(asked)
        return [["d"] if int(q.query[1:]) * 37 % 100 < 100 * setting.query.power / 4 else ["x", "d"] for q in asked]


def powers(*values: float) -> list[Setting]:
    return [Setting(QueryWeights(power)) for power in values]


def test_halving_finds_the_best_with_fewer_queries_than_measuring_all() -> None:
    ranker, every = Table(), asked(900)
    halving = Halving(ranker, every, lambda setting: (1.0, 1), math.inf)
    candidates = powers(*(0.1 * step for step in range(1, 37)))
    best = halving.best(candidates, 2, "test")
    assert [round(trial.setting.query.power, 1) for trial in best] == [3.6, 3.5]
    assert all(len(trial.figures) == 900 for trial in best) and ranker.asked < 36 * 900 / 3
    assert best[0].ndcg == pytest.approx(0.9 + 0.1 / math.log2(3))


def test_halving_keeps_what_is_cheap_too() -> None:
    cost = {setting: (index + 1.0, 1) for index, setting in enumerate(powers(1.0, 2.0, 3.0))}
    halving = Halving(Table(), asked(100), cost.__getitem__, math.inf)
    kept = halving.best([*cost], 3, "test")
    assert {trial.setting for trial in kept} == set(cost)
    flat = Halving(Table(), asked(100), lambda setting: (1.0, 1), math.inf)
    assert [trial.setting for trial in flat.best([*cost], 1, "test")] == powers(3.0)


def test_halving_stops_when_the_time_is_over() -> None:
    ranker = Table()
    best = Halving(ranker, asked(900), lambda setting: (1.0, 1), time.monotonic() - 1).best(
        powers(1, 2, 3, 4), 1, "test"
    )
    assert len(best) == 1 and ranker.asked < 900


@pytest.mark.parametrize(("candidates", "queries", "keep"), [(100, 1340, 4), (5, 50, 2), (1, 10, 1), (3, 1000, 5)])
def test_the_last_rung_has_every_query(candidates: int, queries: int, keep: int) -> None:
    plan = rungs(candidates, queries, keep)
    assert plan[-1] == (keep, queries)
    assert [size for _, size in plan] == sorted(size for _, size in plan)


def test_layers() -> None:
    a, b, c = (
        Trial(Setting(QueryWeights(p)), np.array([v]), cost, 1)
        for p, v, cost in ((1, 0.9, 5), (2, 0.5, 1), (3, 0.4, 6))
    )
    assert dominates(a, c) and not dominates(a, b) and not dominates(b, a)
    assert layered([c, b, a]) == [a, b, c]


ABILITIES = Abilities(simulated=True, hybrid=True, seismic=False, prunable=True)


def test_every_setting_of_the_space_can_be() -> None:
    for abilities in (ABILITIES, Abilities(False, True, True, False), Abilities(True, True, False, False)):
        parts = stages(Setting(), abilities)
        assert ("SEISMIC" in parts) == abilities.seismic and ("pruning" in parts) == abilities.prunable
        assert ("two-phase" in parts) != abilities.seismic
        for settings in parts.values():
            assert settings and len(set(settings)) == len(settings) and Setting() not in settings
            for setting in settings:
                assert Setting.from_json(setting.to_json(), "space") == setting
    survivors = {part: settings[:2] for part, settings in stages(Setting(), ABILITIES).items()}
    together = combined(Setting(), survivors)
    assert Setting() in together and not any(setting.problems() for setting in together)
    assert any(s.hybrid and s.feedback and s.pruning for s in together)
    assert not any(s.two_phase and s.feedback for s in together)


def test_the_search_gives_trials_on_every_query() -> None:
    search = Search(Table(), asked(120), lambda setting: (1.0, 1), Setting(), ABILITIES)
    present, trials, tried = search.run(1.5)
    assert present.ndcg == pytest.approx(values(Table(), Setting(), asked(120)).mean())
    assert trials and all(len(trial.figures) == 120 for trial in trials) and tried > 100
    assert max(trials, key=lambda trial: trial.ndcg).setting.query.power == 2.0


def test_finalists_have_few_prunings() -> None:
    present = Trial(Setting(), np.array([0.5]), 10, 100)
    trials = [
        Trial(Setting(pruning=Pruning("top_k", k)), np.array([0.4 + k / 1000]), float(k), k) for k in range(1, 100, 5)
    ]
    chosen = finalists(present, trials)
    assert Setting(pruning=Pruning("top_k", 96)) in chosen and len({s.pruning for s in chosen}) <= PRUNED


def point(name: float, validation: float, p95: float, size: int, **more: float) -> Point:
    values = {"gain": validation - 0.5, "low": validation - 0.51, "p": 0.001, "p_adjusted": 0.002, **more}
    return Point(
        Setting(QueryWeights(name)), validation, validation, {"en->en": validation}, values["gain"], values["low"],
        values["p"], values["p_adjusted"], p95 / 2, p95, size, size, 1.0, size,
    )  # fmt: skip


PRESENT = point(1, 0.5, 10, 100, gain=0.0, low=0.0, p=1.0, p_adjusted=1.0)


def test_without_a_budget_nothing_may_cost_more() -> None:
    slow, large, good = point(2, 0.9, 20, 100), point(3, 0.9, 10, 101), point(1.5, 0.6, 10.5, 100)
    assert choose([PRESENT, slow, large, good], []) is good
    assert choose([PRESENT, slow, large, good], parse_budgets(["p95<=30ms"])) is slow
    assert choose([PRESENT, slow, large, good], parse_budgets(["size<=1kB"])) is large
    assert choose([PRESENT, slow], parse_budgets(["p95<=5ms"])) is PRESENT


def test_of_about_equal_settings_the_smallest_is_chosen() -> None:
    assert choose([PRESENT, small := point(2, 0.5985, 9, 50), point(3, 0.6, 9, 90)], []) is small
    assert choose([PRESENT, point(2, 0.59, 9, 50), best := point(3, 0.6, 9, 90)], []) is best


def test_verdicts() -> None:
    better = point(2, 0.6, 9, 90)
    assert verdict(better, PRESENT, [])[0] and verdict(better, PRESENT, [])[1].startswith("better: +0.1000")
    chance = replace(better, p_adjusted=0.2, p95=10)
    assert verdict(chance, PRESENT, []) == (False, verdict(chance, PRESENT, [])[1])
    assert "no setting is better than chance" in verdict(chance, PRESENT, [])[1]
    smaller = point(2, 0.5, 10, 60, gain=-0.001, low=-0.004, p_adjusted=0.5)
    assert verdict(smaller, PRESENT, [])[0] and "equal at less cost" in verdict(smaller, PRESENT, [])[1]
    assert not verdict(replace(smaller, low=-0.006), PRESENT, [])[0]
    assert verdict(PRESENT, PRESENT, []) == (
        False, "the present setting is the best of those within the budgets; nothing needs to change"
    )  # fmt: skip
    tight = parse_budgets(["p95<=5ms"])
    assert verdict(PRESENT, PRESENT, tight)[1].startswith("no setting keeps the budgets")
    worse = point(2, 0.4, 4, 100, gain=-0.1, low=-0.2, p_adjusted=0.001)
    assert verdict(worse, PRESENT, tight)[0] and "loses quality" in verdict(worse, PRESENT, tight)[1]


def test_the_front_and_holm() -> None:
    points = [PRESENT, fast := point(2, 0.4, 5, 100), point(3, 0.45, 12, 120), best := point(4, 0.6, 10, 100)]
    assert front(points) == [fast, best]
    (first, second), (third, fourth) = p_values([[0.1] * 40, [0.1, -0.1] * 20])
    assert first < 0.001 and second == pytest.approx(2 * first) and third == fourth == 1.0


def plan(points: list[Point], chosen: int = 1) -> TuningPlan:
    return TuningPlan(
        "products", "f" * 64, {"name": "d"}, ["p95<=20ms"], points, chosen, True, "better <b>", ["a note"], 7, 60.0
    )


def test_a_plan_survives_its_file_and_shows_the_steps(tmp_path: Path) -> None:
    points = [PRESENT, point(2, 0.6, 9, 90), point(3, 0.7, 15, 90), point(0.5, 0.55, 5, 80)]
    made = plan(points)
    assert {name: p.setting.query.power for name, p in made.steps().items()} == {"up": 3, "down": 0.5}
    made.save(tmp_path / "plan.json")
    assert TuningPlan.open(tmp_path / "plan.json") == made
    text = str(made)
    assert "next step up: power 3: +0.1000 nDCG@10 on test, p95 +6.00 ms" in text and "run the same command" in text
    assert [line[:3] for line in text.splitlines()[3:7]] == [" = ", "> *", "  *", "  *"]
    (tmp_path / "plan.json").write_text('{"schema": 1, "points": []}')
    with pytest.raises(InputError, match="not a plan of this version"):
        TuningPlan.open(tmp_path / "plan.json")


def test_the_output_folder(tmp_path: Path) -> None:
    made = plan([PRESENT, point(2, 0.6, 9, 90)])
    folder = output_folder(tmp_path / "out", FILES, False)
    assert folder is not None
    write_output(folder, made)
    assert (folder / "front.png").read_bytes().startswith(b"\x89PNG")
    html = (folder / "index.html").read_text()
    assert "better &lt;b&gt;" in html and "http" not in html and "data:image/png;base64," in html
    assert (folder / "table.txt").read_text() == f"{made}\n"
    with pytest.raises(InputError, match="exists; pass `overwrite=True`"):
        output_folder(folder, FILES, False)
    assert output_folder(folder, FILES, True) == folder and output_folder(None, FILES, False) is None
    with pytest.raises(InputError, match="is a file"):
        output_folder(folder / "plan.json", FILES, True)
    assert html.count("data:image/png;base64,") == 2 and "prefers-color-scheme: dark" in html
    assert "<img" not in page(made, {})


def test_dots_that_lie_on_each_other_share_a_label() -> None:
    places = [(0.0, 0.0), (100.0, 1.0), (1.0, 0.01), (100.0, 0.5), (99.0, 0.99)]
    assert near_places(places, (0, 100), (0, 1)) == [[0, 2], [1, 4], [3]]


def test_names_of_settings() -> None:
    setting = Setting(
        QueryWeights(1.5, 0.1, 8),
        feedback=Feedback(3, 16, 0.2, 100),
        hybrid=Hybrid("rrf", by_direction={"ko->en": 0.5}),
    )
    assert str(setting) == (
        "power 1.5 drop below 0.1 top 8 tokens, feedback 3 documents x 16 tokens x 0.2, rerank 100, "
        "hybrid rrf 60 0.7 ko->en 0.5"
    )
    assert str(Setting(two_phase=TwoPhase(), pruning=Pruning("alpha_mass", 0.9))) == (
        "two-phase 0.4/5, prune alpha_mass 0.9"
    )
    assert str(Setting()) == "plain"
