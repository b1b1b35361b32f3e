"""What ``osparse corpus stats`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from osparse.corpus import Stats
    from osparse.corpus.builder.candidate_stats import CandidateStats

SHOWN = 70
"""Characters of an example's text."""


def stats_text(stats: Stats) -> str:
    """Texts by split and language, judgements, what the splits share, candidates."""
    lines = [f"{'split':<11} {'what':<10} {'lang':<5} {'texts':>9} {'mean':>8} {'p50':>6} {'p99':>6}  characters"]
    for split, part in stats.splits.items():
        for what in ("documents", "queries"):
            for lang, n in part[what].items():
                lengths = f"{n['mean']:>8} {n['p50']:>6.0f} {n['p99']:>6.0f}"
                lines.append(f"{split:<11} {what:<10} {lang or '-':<5} {n['rows']:>9,} {lengths}")
        judged = ", ".join(f"{rows:,} {origin}" for origin, rows in part["judgements"].items()) or "none"
        dates = f", dated {part['dates'][0]} to {part['dates'][1]}" if part["dates"][0] else ""
        lines.append(f"{split:<11} {part['groups']:,} groups of documents, judgements: {judged}{dates}")
    for pair, shared in stats.overlap.items():
        lines.append(f"shared by {pair}: {', '.join(f'{n:,} {kind}' for kind, n in shared.items())}".replace("_", " "))
    for split, candidates in stats.candidates.items():
        lines += _candidates(split, candidates)
    return "\n".join(lines)


def _candidates(split: str, stats: CandidateStats) -> Iterator[str]:
    per_query = stats.negatives_per_query
    yield (
        f"candidates of {split}: {stats.candidates:,} pairs of a query and a document, of "
        f"{stats.queries_with_candidates:,} of {stats.queries:,} queries"
    )
    yield (
        f"  negatives per query: mean {per_query['mean']:,.1f}, median {per_query['p50']:,.0f}, from "
        f"{per_query['min']:,.0f} to {per_query['max']:,.0f}"
    )
    yield f"  origins: {', '.join(f'{rows:,} rows {origin}' for origin, rows in stats.origins.items())}"
    for name, scores in stats.scorers.items():
        yield f"  scores by {name}: {scores['pairs']:,} pairs"
        yield from (f"    {text}" for text in _distributions(scores))
    for example in stats.examples:
        yield f"  example: {_short(example['query'])}"
        yield f"    relevant: {_short(example['relevant'])}"
        yield f"    negative: {_short(example['negative'])}"


def _distributions(scores: Mapping[str, Any]) -> Iterator[str]:
    for what, key in (("relevant documents", "positives"), ("other documents", "negatives")):
        spread = scores[key]
        if spread is None:
            yield f"{what}: none scored"
        else:
            middle = f"median {spread['p50']:.4g}, 90 % within {spread['p5']:.4g} to {spread['p95']:.4g}"
            yield f"{what}: {spread['number']:,}, {middle}, all within {spread['min']:.4g} to {spread['max']:.4g}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN].rstrip()} ..."
