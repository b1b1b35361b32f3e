"""``osparse corpus pairs`` and ``baseline``: pairs to train on, out of datasets or of whatever sources are present."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from osparse.cli.commands._common import FOLDER, echo
from osparse.cli.commands._common import command as make_command

KINDS = ("query-document", "title-summary", "title-paragraph", "aligned")


@make_command(
    "pairs",
    examples="""osparse corpus pairs data/kowiki --kind title-summary --kind title-paragraph --output data/pairs
osparse corpus pairs data/deb-koen data/qa --limit 10000 --output data/pairs""",
)
@click.argument("datasets", nargs=-1, required=True, type=FOLDER)
@click.option("--output", required=True, type=FOLDER, help="The dataset directory to write.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Default: query-document, aligned.")
@click.option("--paragraphs", default=3, show_default=True, help="Paragraphs of an article besides its first.")
@click.option(
    "--mask", default=0.5, show_default=True, help="Share of title pairs whose title is removed from the text."
)
@click.option("--limit", type=int, help="Total number of pairs: equal shares per source, whole groups.")
@click.option("--query-characters", nargs=2, type=int, default=(2, 200), show_default=True, help="Minimum and maximum.")
@click.option(
    "--text-characters", nargs=2, type=int, default=(30, 5000), show_default=True, help="Minimum and maximum."
)
@click.option("--any-language", is_flag=True, help="Keep texts that are not in their declared language.")
@click.option(
    "--boilerplate",
    default=20,
    show_default=True,
    help="Drop texts whose opening is shared by this many groups; 0: keep.",
)
@click.option(
    "--near-duplicates",
    default=0.9,
    show_default=True,
    help="Drop texts above this Jaccard similarity to another; 0: keep.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of masking, sampling and splitting.")
@click.option("--overwrite", is_flag=True, help="Replace what is at --output.")
def pairs(
    datasets: tuple[Path, ...],
    output: Path,
    kinds: tuple[str, ...],
    paragraphs: int,
    mask: float,
    limit: int | None,
    query_characters: tuple[int, int],
    text_characters: tuple[int, int],
    any_language: bool,
    boilerplate: int,
    near_duplicates: float,
    seed: int,
    overwrite: bool,
) -> None:
    """Make filtered query-document pairs of the relevant documents in DATASETS; titles serve as queries too."""
    from osparse.contracts.dataset import Dataset
    from osparse.corpus import PairFilters, PairRules, make_pairs

    filters = PairFilters(
        query_characters, text_characters, not any_language, boilerplate, near_duplicates
    )  # fmt: skip
    chosen = kinds or PairRules.kinds
    rules = PairRules(chosen, paragraphs, mask, limit, filters, seed)
    written = make_pairs([Dataset.open(path) for path in datasets], output, rules, overwrite=overwrite)
    _say(written)


@make_command(
    "baseline",
    examples="osparse corpus baseline data/sources --output data/baseline/dataset",
)
@click.argument("sources", type=FOLDER)
@click.option(
    "--output", required=True, type=FOLDER, help="The dataset directory to write; intermediate ones go beside it."
)
@click.option("--pairs", default=10_000, show_default=True, help="Most pairs, in equal shares.")
@click.option("--overwrite", is_flag=True, help="Build everything again.")
def baseline(sources: Path, output: Path, pairs: int, overwrite: bool) -> None:
    """Make pairs of the sources in SOURCES/NAME/ (NAME as in corpus build) and of Debian's descriptions."""
    from osparse.corpus import prepare_baseline

    _say(prepare_baseline(sources, output, pairs=pairs, overwrite=overwrite))


def _say(dataset: Any) -> None:
    """The figures before and after each filter, and what was written."""
    notes = dataset.manifest.notes["pairs"]
    counts = dataset.manifest.counts
    result = {"path": str(dataset.path), "fingerprint": dataset.fingerprint, "counts": counts, "pairs": notes}
    lines = [str(dataset.path)]
    for name, found in notes.items():
        if name != "masking":
            kinds = ", ".join(f"{rows:,} {kind}" for kind, rows in found["kinds"].items())
            lines.append(f"  {name:<16} {found['pairs']:>9,}  {kinds}")
    masking = notes["masking"]
    lines.append(
        f"  {masking['masked']:,} texts lost their title; query words found in the text: "
        f"{masking['query_words_in_text_before']:.1%} before, {masking['query_words_in_text_after']:.1%} after"
    )
    lines += [f"  {name.removesuffix('.arrow'):<17} {rows:>9,}" for name, rows in counts.items()]
    echo(result, "\n".join(lines))


COMMANDS = (pairs, baseline)
