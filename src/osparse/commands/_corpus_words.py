"""``osparse corpus trends`` and ``synonyms``: what words do over time, and which belong together."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from osparse.commands._common import FOLDER, echo
from osparse.commands._common import command as make_command


def add_commands(group: click.Group) -> None:
    """Add both to ``osparse corpus``."""

    @make_command(
        "trends",
        group=group,
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
    @click.option("--split", help="Only documents judged in it; all by default.")
    @click.option("--plot", type=FOLDER, help="A PNG of the strongest trends over time.")
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
    ) -> None:
        """Find terms of a DATASET's dated documents that lately became more or less frequent than chance allows."""
        from osparse.corpus import TrendRules, find_trends
        from osparse.dataset import Dataset

        rules = TrendRules(as_of=as_of.date(), window=window, fdr=fdr, max_boost=max_boost)
        report = find_trends(Dataset.open(dataset), output, rules, tokenizer=tokenizer, split=split, plot=plot)
        lines = [
            f"{output}: {len(report.rising)} rising and {len(report.falling)} falling of {report.terms_tested:,} "
            f"terms; {report.recent_documents:,} recent documents against {report.before_documents:,}, "
            f"{report.undated_documents:,} without a date up to {rules.as_of}"
        ]
        for what, found in (("rising", report.rising), ("falling", report.falling)):
            lines += [
                f"  {what:<8} {t.term:<30} {t.before_share:7.2%} -> {t.recent_share:7.2%}  q {t.q:.2g}"
                for t in found[:10]
            ]
        echo({"path": str(output), **asdict(report)}, "\n".join(lines))
