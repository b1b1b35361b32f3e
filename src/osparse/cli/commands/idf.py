"""``osparse idf``: the query weights of a tokenizer on a dataset, and what changed between two versions of them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from osparse.cli.commands._common import FOLDER, echo
from osparse.cli.commands._common import command as make_command
from osparse.cli.commands._rows import LOCATION, text_options
from osparse.errors import InputError

EPILOG = """\b
Examples:
  osparse idf data/deb-koen --tokenizer data/tokenizer --output data/idf.json
  osparse idf products.jsonl --tokenizer build/model --output data/idf.json
  osparse idf data/news --tokenizer data/tokenizer --output data/idf.json --half-life 30 --as-of 2026-11-01
  osparse idf diff data/idf.json data/idf-november.json
"""


class _CountByDefault(click.Group):
    """``osparse idf DATASET`` is ``osparse idf count DATASET``; the help shows the options of counting too."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        records = [parameter.get_help_record(ctx) for parameter in count.params if isinstance(parameter, click.Option)]
        with formatter.section("Options of counting (osparse idf DATASET|FILE...)"):
            formatter.write_dl([record for record in records if record is not None])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["count", *args]
        return super().parse_args(ctx, args)


@click.group("idf", cls=_CountByDefault, epilog=EPILOG)
def command() -> None:
    """Compute every token's query weight over documents (``count``, the default), or compare two tables (``diff``)."""


@make_command(
    "count",
    group=command,
    examples="""osparse idf data/deb-koen --tokenizer data/tokenizer --output data/idf.json
osparse idf products.csv 'more/*.parquet' --template '{name}\\n{body}' --tokenizer build/model --output data/idf.json
osparse idf data/news --tokenizer data/tokenizer --output data/idf.json --half-life 30 --as-of 2026-11-01""",
)
@click.argument("paths", nargs=-1, required=True, type=LOCATION, metavar="DATASET|FILE...")
@click.option("--tokenizer", required=True, type=FOLDER, help="A folder with a tokenizer.json, or that file.")
@click.option("--output", required=True, type=FOLDER, help="idf.json; its provenance goes to idf.meta.json beside it.")
@click.option("--split", help="Split of a DATASET, or all; default: train where it has that split, else all.")
@text_options
@click.option(
    "--half-life", type=float, help="Days after which a document counts half, so that recent tokens gain weight."
)
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), help="The day from which --half-life counts back.")
@click.option("--max-boost", type=float, default=2.0, show_default=True, help="Largest factor of --half-life.")
@click.option("--trends", type=FOLDER, help="A report of osparse corpus trends, whose rising terms gain weight.")
@click.option("--overwrite", is_flag=True, help="Replace what is at --output.")
def count(
    paths: tuple[Path, ...],
    tokenizer: Path,
    output: Path,
    split: str | None,
    text_field: tuple[str, ...],
    template: str | None,
    half_life: float | None,
    as_of: datetime | None,
    max_boost: float,
    trends: Path | None,
    overwrite: bool,
) -> None:
    """Count tokens over a DATASET or over FILEs of documents and write every token's inverse document frequency.

    A FILE holds JSON lines or an array, CSV, TSV, Parquet or Arrow (also compressed), with a field "text"; it may be a
    pattern or an address (s3://, gs://, https://). Of a DATASET with a training
    split that split is counted, else every document.

    The table can be replaced at any time without indexing again: documents do not depend on it.
    """
    if (half_life is None) != (as_of is None):
        raise InputError("--half-life and --as-of belong together: give both, or neither for plain weights")
    from osparse.contracts.dataset import Dataset
    from osparse.corpus import Recency, compute_idf
    from osparse.rows.read_rows import documents_of_beir

    recency = None
    if half_life is not None and as_of is not None:
        recency = Recency(half_life=half_life, as_of=as_of.date(), limit=max_boost)
    paths = tuple(map(documents_of_beir, paths))
    source = Dataset.open(paths[0]) if len(paths) == 1 and paths[0].is_dir() else paths
    lexicon = compute_idf(source, tokenizer, output, split=split, text_field=text_field, template=template,
                          recency=recency, trends=trends, overwrite=overwrite)  # fmt: skip
    special = set(lexicon.special_ids)
    ordinary = [i for i, token in enumerate(lexicon.tokens) if token and i not in special]
    low, high = (float(f(lexicon.idf[ordinary])) for f in (min, max))
    result = {"path": str(output), "version": lexicon.version, "tokens": len(ordinary), "lowest": low, "highest": high}
    echo(result, f"{output}: {len(ordinary):,} tokens, weights {low:.3f} to {high:.3f}, version {lexicon.version}")


@make_command("diff", group=command, examples="osparse idf diff data/idf.json data/idf-november.json --top 10")
@click.argument("a", type=FOLDER)
@click.argument("b", type=FOLDER)
@click.option("--top", default=20, show_default=True, type=click.IntRange(1), help="Tokens shown each way.")
def diff(a: Path, b: Path, top: int) -> None:
    """Show what changed from table A to table B: tokens that gained and lost weight, the order's correlation."""
    from osparse.corpus import diff_idf

    changes = diff_idf(a, b, top=top)
    lines = [
        f"{changes.tokens:,} tokens in both, {changes.changed:,} changed by more than 1 %; rank correlation "
        f"{changes.rank_correlation:.4f}, mean ratio {changes.mean_ratio:.4f}; {len(changes.only_in_a):,} only in {a}, "
        f"{len(changes.only_in_b):,} only in {b}"
    ]
    for what, rows in (("gained", changes.gained), ("lost", changes.lost)):
        lines += [f"  {what:<7} {token:<24} {before:8.3f} -> {after:8.3f}" for token, before, after in rows]
    echo({"a": str(a), "b": str(b), **asdict(changes)}, "\n".join(lines))
