"""The tables that benchmarks/quality.py prints."""

from __future__ import annotations

from collections.abc import Mapping

from quality_systems import Table

from osparse.evaluation.exact_search import paired_randomisation_test
from osparse.evaluation.measures import NDCG

TARGETS = {"ko->ko": 0.78, "en->en": 0.80, "ko->en": 0.73, "ko->en, no shared word": 0.55, "en->ko": 0.73}
ROUNDS = 10_000


def directions(table: Table) -> list[str]:
    there = list(table["model"])
    return [*(name for name in TARGETS if name in there), *(name for name in there if name not in TARGETS)]


def show(table: Table, targets: Mapping[str, float] | None = None) -> list[str]:
    names = directions(table)
    queries = [table["model"][name].queries for name in names]
    lines = [
        "| nDCG@10 | " + " | ".join(f"{name} ({n})" for name, n in zip(names, queries, strict=True)) + " |",
        "|---|" + "---|" * len(names),
    ]
    for system, found in table.items():
        cells = (f"{found[name].mean(NDCG):.3f} ±{found[name].margin(NDCG):.3f}" for name in names)
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    if targets is None:
        return lines
    return [*lines, "| to reach | " + " | ".join(f"{targets[n]:.2f}" if n in targets else "" for n in names) + " |"]


def is_ours(system: str) -> bool:
    return system.startswith(("model", "hybrid"))


def compare(table: Table, opponent: str | None = None) -> list[str]:
    """Model and hybrids against ``opponent``, or the best one of each direction: difference and p."""
    ours = [system for system in table if is_ours(system)]
    lines = [
        f"| against {opponent or 'the best opponent'} | its nDCG@10 | "
        + " | ".join(f"{name}, p" for name in ours)
        + " |",
        "|---|---|" + "---|" * len(ours),
    ]
    for name in directions(table):
        rivals = [opponent] if opponent else [system for system in table if not is_ours(system)]
        best = max(rivals, key=lambda system: table[system][name].mean(NDCG))
        theirs = table[best][name].values(NDCG)
        cells = []
        for system in ours:
            values = table[system][name].values(NDCG)
            p = paired_randomisation_test(values, theirs, ROUNDS)
            cells.append(f"{values.mean() - theirs.mean():+.3f}, {p:.4f}")
        shown = f"{theirs.mean():.3f}" if opponent else f"{best} {theirs.mean():.3f}"
        lines.append(f"| {name} | {shown} | " + " | ".join(cells) + " |")
    return lines
