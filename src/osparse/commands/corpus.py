"""``osparse corpus``: build a dataset, look at it, fit a tokenizer on it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from osparse.commands._common import FOLDER, echo
from osparse.commands._common import command as make_command
from osparse.errors import CheckError

EPILOG = """\b
Examples:
  osparse corpus build --source debian --output data/deb-koen
  osparse corpus stats data/deb-koen
"""


@click.group("corpus", epilog=EPILOG)
def command() -> None:
    """Build and inspect datasets from raw text."""


@make_command(
    "build",
    group=command,
    examples="""osparse corpus build --source debian --output data/deb-koen
osparse corpus build --source jsonl examples/sample_corpus.jsonl --output data/sample
osparse corpus build --source beir scifact/ --output data/scifact""",
)
@click.argument("paths", nargs=-1, type=FOLDER)
@click.option("--source", required=True, type=click.Choice(["debian", "jsonl", "beir"]), help="What is read.")
@click.option("--output", required=True, type=FOLDER, help="The dataset directory to write.")
@click.option("--seed", default=0, show_default=True, help="Another seed deals the groups to the splits another way.")
@click.option("--overwrite", is_flag=True, help="Replace what is at --output; fetches Debian's lists again.")
def build(paths: tuple[Path, ...], source: str, output: Path, seed: int, overwrite: bool) -> None:
    """Read raw text from PATHS and write a dataset: documents, queries, qrels by split.

    debian fetches the Korean and English package descriptions of this machine's own apt sources (no PATH, no root).
    jsonl takes rows {"id","text","title","lang","group"}, {"query","pos","neg"} or {"query","docs","scores"}.
    beir takes a folder with corpus.jsonl, queries.jsonl and qrels/.
    """
    from osparse.corpus import build_dataset

    dataset = build_dataset(source, paths, output, seed=seed, overwrite=overwrite)
    manifest = dataset.manifest
    result = {"path": str(output), "fingerprint": dataset.fingerprint, "counts": manifest.counts, **_sources(manifest)}
    echo(result, lambda: _build_text(output, manifest))


@make_command(
    "stats", group=command, examples="osparse corpus stats data/deb-koen\nosparse corpus stats data/deb-koen --json"
)
@click.argument("dataset", type=FOLDER)
def stats(dataset: Path) -> None:
    """Show a DATASET's counts, lengths, languages and dates, and check that its splits are apart (else exit 3)."""
    from osparse.corpus import dataset_stats
    from osparse.dataset import Dataset

    found = dataset_stats(Dataset.open(dataset))
    if not found.shared_groups:
        echo(asdict(found), lambda: _stats_text(found.splits, found.overlap))
        return
    message = f"{dataset}: {found.shared_groups} groups are in more than one split; rebuild the dataset"
    failed = {"error": message, "exit_code": CheckError.exit_code}
    echo({**asdict(found), **failed}, lambda: _stats_text(found.splits, found.overlap))
    click.echo(f"osparse: {message}", err=True)  # not raised: the command line would print a second JSON result
    click.get_current_context().exit(CheckError.exit_code)


@make_command(
    "tokenizer",
    group=command,
    examples="osparse corpus tokenizer data/deb-koen --output data/tokenizer --vocab-size 16000",
)
@click.argument("dataset", type=FOLDER)
@click.option("--output", required=True, type=FOLDER, help="The Hugging Face tokenizer folder to write.")
@click.option("--vocab-size", default=16_000, show_default=True, help="Tokens, at most 32,768.")
@click.option("--split", default="train", show_default=True, help="What it is fitted on: documents and queries.")
@click.option("--lowercase/--cased", default=True, show_default=True, help="Fold letter case.")
@click.option("--overwrite", is_flag=True, help="Replace what is at --output.")
def tokenizer(dataset: Path, output: Path, vocab_size: int, split: str, lowercase: bool, overwrite: bool) -> None:
    """Fit a Korean-English WordPiece tokenizer on one split of a DATASET."""
    from osparse.corpus import train_tokenizer
    from osparse.dataset import Dataset

    opened = Dataset.open(dataset)
    made = train_tokenizer(opened, output, vocab_size=vocab_size, split=split, lowercase=lowercase, overwrite=overwrite)
    lines = [f"{output}: {made.vocabulary:,} tokens"] + [
        f"  {where}: {made.unknown_share[where]:.3%} unknown, {made.pieces_per_word[where]:.2f} pieces per word"
        for where in made.unknown_share
    ]
    echo({**asdict(made), "path": str(output)}, "\n".join(lines))


def _sources(manifest: Any) -> dict[str, Any]:
    return {"sources": [asdict(source) for source in manifest.sources]}


def _build_text(output: Path, manifest: Any) -> str:
    lines = [f"{output}"]
    for source in manifest.sources:
        lines.append(f"  {source.name}: {source.rows_kept:,} of {source.rows_in:,} rows kept")
        lines += [f"    dropped {rows:,}: {reason}" for reason, rows in source.dropped.items()]
    lines += [f"  {name.removesuffix('.arrow'):<17} {rows:>9,}" for name, rows in manifest.counts.items()]
    return "\n".join(lines)


def _stats_text(splits: dict[str, dict[str, Any]], overlap: dict[str, dict[str, int]]) -> str:
    lines = [f"{'split':<11} {'what':<10} {'lang':<5} {'rows':>9} {'mean':>8} {'p50':>6} {'p99':>6}  (characters)"]
    for split, part in splits.items():
        for what in ("documents", "queries"):
            lines += [
                f"{split:<11} {what:<10} {lang:<5} {n['rows']:>9,} {n['mean']:>8} {n['p50']:>6.0f} {n['p99']:>6.0f}"
                for lang, n in part[what].items()
            ]
        judged = ", ".join(f"{rows:,} {origin}" for origin, rows in part["judgements"].items())
        dates = f", dated {part['dates'][0]} to {part['dates'][1]}" if part["dates"][0] else ""
        lines.append(f"{split:<11} {part['groups']:,} groups, judgements: {judged}{dates}")
    for pair, shared in overlap.items():
        lines.append(f"shared by {pair}: {', '.join(f'{n} {kind}' for kind, n in shared.items())}".replace("_", " "))
    return "\n".join(lines)
