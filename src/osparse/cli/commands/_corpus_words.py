"""``osparse corpus trends`` and ``synonyms``: what words do over time, and which belong together."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from osparse.cli.commands._common import FOLDER, echo
from osparse.cli.commands._common import command as make_command
from osparse.errors import InputError


@make_command(
    "trends",
    examples="""osparse corpus trends data/news --as-of 2026-11-01 --output data/trends.json --plot trends.png
osparse corpus trends data/news --as-of 2026-11-01 --tokenizer data/tokenizer --output data/trends.json""",
)
@click.argument("dataset", type=FOLDER)
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), required=True, help="The last day that counts.")
@click.option("--output", required=True, type=FOLDER, help="The report to write, JSON.")
@click.option("--window", default=30, show_default=True, help="Days up to --as-of that are recent.")
@click.option("--fdr", default=0.05, show_default=True, help="False-discovery rate.")
@click.option("--tokenizer", type=FOLDER, help="Map rising terms to its tokens, for osparse idf --trends.")
@click.option("--max-boost", default=2.0, show_default=True, help="Largest factor of a token's query weight.")
@click.option("--split", help="Only documents judged in it, or all; by default those not held back.")
@click.option("--plot", type=FOLDER, help="A PNG of the strongest trends over time.")
@click.option("--theme", type=click.Choice(["light", "dark"]), default="light", show_default=True, help="Of --plot.")
def trends_command(
    dataset: Path,
    as_of: datetime,
    output: Path,
    window: int,
    fdr: float,
    tokenizer: Path | None,
    max_boost: float,
    split: str | None,
    plot: Path | None,
    theme: str,
) -> None:
    """Find terms that became significantly more or less frequent in a DATASET's recent documents."""
    from osparse.contracts.dataset import Dataset
    from osparse.corpus import TrendRules, find_trends
    from osparse.corpus.terms.trend_plot import nothing_found, telling

    rules = TrendRules(as_of=as_of.date(), window=window, fdr=fdr, max_boost=max_boost)
    report = find_trends(Dataset.open(dataset), output, rules, tokenizer=tokenizer, split=split, plot=plot, look=theme)
    lines = [
        f"{output}: {len(report.rising)} rising and {len(report.falling)} falling of {report.terms_tested:,} "
        f"terms; {report.recent_documents:,} recent documents against {report.before_documents:,}, "
        f"{report.undated_documents:,} without a date up to {rules.as_of}"
    ]
    for what, word, trends in (("rising", "rose", report.rising), ("falling", "fell", report.falling)):
        if not trends:
            lines.append("  " + " ".join(nothing_found(word, report, rules).split()))
        lines += [
            f"  {what:<8} {t.term:<30} {t.before_share:7.2%} -> {t.recent_share:7.2%}  q {t.q:.2g}"
            for t in telling(trends)[:10]
        ]
    echo({"path": str(output), **asdict(report)}, "\n".join(lines))


@make_command(
    "synonyms",
    examples="""osparse corpus synonyms data/deb-koen --output data/synonyms
osparse corpus synonyms data/deb-koen --method hdbscan --model build/model --output data/synonyms
osparse corpus synonyms data/news --half-life 90 --as-of 2026-11-01 --output data/synonyms""",
)
@click.argument("dataset", type=FOLDER)
@click.option("--output", required=True, type=FOLDER, help="The folder to write.")
@click.option(
    "--method",
    default="mutual",
    show_default=True,
    type=click.Choice(["kmeans", "dbscan", "hdbscan", "hierarchical", "mutual"]),
    help="How words are grouped.",
)
@click.option("--similarity", default=0.6, show_default=True, help="Smallest cosine within a group.")
@click.option("--model", type=FOLDER, help="Vectors from a trained model's states instead of PPMI.")
@click.option("--at-least", default=5, show_default=True, help="Fewest documents that contain a word.")
@click.option("--confidence", default=0.1, show_default=True, help="Smallest confidence of a translation.")
@click.option("--half-life", type=float, help="Days after which a document counts half.")
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), help="The day from which --half-life counts back.")
@click.option("--overwrite", is_flag=True, help="Replace what is at --output.")
def synonyms_command(
    dataset: Path,
    output: Path,
    method: str,
    similarity: float,
    model: Path | None,
    at_least: int,
    confidence: float,
    half_life: float | None,
    as_of: datetime | None,
    overwrite: bool,
) -> None:
    """Learn synonyms and Korean-English translations from a DATASET's training split, without supervision."""
    if (half_life is None) != (as_of is None):
        raise InputError("--half-life and --as-of belong together: give both, or neither")
    from osparse.contracts.dataset import Dataset
    from osparse.corpus import Recency, SynonymRules, find_synonyms

    recency = None
    if half_life is not None and as_of is not None:
        recency = Recency(half_life=half_life, as_of=as_of.date())
    rules = SynonymRules(
        method=method, similarity=similarity, model=model, at_least=at_least, confidence=confidence, recency=recency
    )  # fmt: skip
    report = find_synonyms(Dataset.open(dataset), output, rules, overwrite=overwrite)
    lines = [f"{output}: {len(report.groups):,} groups, {len(report.translations):,} translations"]
    lines += [f"  {', '.join(group.words)}  ({group.lang}, {group.confidence:.2f})" for group in report.groups[:10]]
    lines += [f"  {pair.ko} = {pair.en}  ({pair.origin}, {pair.confidence:.2f})" for pair in report.translations[:10]]
    if report.precision is not None:
        shown = ", ".join(f"@{k} {value:.2f}" for k, value in report.precision.at.items())
        lines.append(
            f"  translations confirmed by held-out titles: {shown} of {report.precision.judged} judged; "
            f"by chance {report.precision.chance:.2f}"
        )
    echo({"path": str(output), **asdict(report)}, "\n".join(lines))


COMMANDS = (trends_command, synonyms_command)
