"""``osparse corpus``: build a dataset, look at it, fit a tokenizer on it."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import click

from osparse.cli.commands import _corpus_candidates, _corpus_pairs, _corpus_words
from osparse.cli.commands._common import FOLDER, echo
from osparse.cli.commands._common import command as make_command
from osparse.cli.commands._rows import LOCATION
from osparse.errors import CheckError, InputError

log = logging.getLogger("osparse.cli.commands.corpus")
EPILOG = """\b
Examples:
  osparse corpus build --source debian --output data/deb-koen
  osparse corpus stats data/deb-koen
"""


@click.group("corpus", epilog=EPILOG)
def command() -> None:
    """Build and inspect datasets from raw text."""


for part in (*_corpus_candidates.COMMANDS, *_corpus_words.COMMANDS, *_corpus_pairs.COMMANDS):
    command.add_command(part)


@make_command(
    "build",
    group=command,
    examples="""osparse corpus build --source debian --output data/deb-koen
osparse corpus build --source jsonl examples/sample_corpus.jsonl --output data/sample
osparse corpus build --source csv --option columns=query=question,pos=answer faq.csv --output data/faq
osparse corpus build --source csv --option 'template={name}\\n{description}' products.csv --output data/products
osparse corpus build --source csv new_faq.csv --split-like data/faq --output data/new-faq
osparse corpus build --source beir scifact/ --output data/scifact
osparse corpus build --source wikipedia kowiki-latest-pages-articles-multistream.xml.bz2 --output data/kowiki
osparse corpus build --source squad=KorQuAD_v1.0_train.json --source gooaq=gooaq.jsonl --output data/qa""",
)
@click.argument("paths", nargs=-1, type=LOCATION)
@click.option(
    "--source",
    required=True,
    multiple=True,
    metavar="NAME[=PATH]",
    help="The reader; given several times, each with a path, all are read into one dataset.",
)
@click.option("--output", required=True, type=FOLDER, help="The dataset directory to write.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="A setting of the reader; see below.")
@click.option(
    "--lang", default="", metavar="TAG", help="Language of every text, as ko; else the rows' own, or detected."
)
@click.option("--seed", default=0, show_default=True, help="Changes which groups go to which split.")
@click.option(
    "--split-like", type=FOLDER, metavar="DATASET", help="Hold back what this DATASET holds back, by group and text."
)
@click.option("--strict", is_flag=True, help="Refuse judgements of a missing or empty text; else they are dropped.")
@click.option("--overwrite", is_flag=True, help="Replace what is at --output; fetches Debian's lists again.")
def build(
    paths: tuple[Path, ...],
    source: tuple[str, ...],
    output: Path,
    options: tuple[str, ...],
    lang: str,
    seed: int,
    split_like: Path | None,
    strict: bool,
    overwrite: bool,
) -> None:
    """Read raw text and write a dataset: documents, queries, qrels by split, and candidates where the source has them.

    \b
    Your own files, in these shapes (docs/your-data.md has an example of each):
    document     id, text; optional title, lang, date, group, source
    pair         query, pos; optional neg, id, lang, date, group
    scores       query, docs, scores; optional teacher, id, lang, date, group
    \b
    csv          a table with these columns; columns=query=question,pos=answer names
                 others, template='{title}\\n{body}' makes the text of several,
                 date_format=%d.%m.%Y says how dates are written;
                 quotes=false where quotes are ordinary characters
    tsv          the same, separated by tabs
    jsonl        JSON lines with these fields; columns, template, date_format
    parquet      Parquet or Arrow with these columns; the same three
    hf           folders made by datasets' save_to_disk; the same three
    \b
    Published formats:
    beir         a folder with corpus.jsonl, queries.jsonl and qrels/
    msmarco      a folder of collection, queries, qrels, hard negatives; or triples
                 negatives=30 per system
    squad        SQuAD, KorQuAD 1.0, KLUE-MRC: what can be answered
    gooaq        questions and answers as JSON lines
    wikianswers  sets of questions; others=3 beside the first
    s2orc        title and abstract, or pairs of texts, as JSON lines
    wikipedia    XML dumps; min_characters=100, langlinks=FILE groups translations
    namuwiki     a dump as JSON array or Parquet; min_characters=100
    modu         Modu corpus JSON files or folders; min_characters=100
    debian       this machine's apt sources (no PATH, no root), or a folder of lists
                 english=true adds the descriptions without Korean
    mallard      help pages by language, such as /usr/share/help; langs=en,ko chooses
                 languages; source_lang=en is that of the folder C
    \b
    Translations (langs=en,ko chooses languages; min_characters=2 letters of a text):
    gettext      .po and .mo catalogues, or folders such as /usr/share/locale;
                 source_lang=en is that of the messages
    tmx          translation memories
    xliff        XLIFF 1.2 and 2.x

    Files may be compressed (gzip, bzip2, xz, zstd). An interrupted build continues with the files it had not read.
    """
    from osparse.cli.commands._corpus_build import build_json, build_text
    from osparse.corpus import build_from

    inputs = _inputs(source, paths, options, lang)
    dataset = build_from(inputs, output, seed=seed, split_like=split_like, overwrite=overwrite, strict=strict)
    echo(build_json(dataset), lambda: build_text(dataset))


def _inputs(sources: tuple[str, ...], paths: tuple[Path, ...], options: tuple[str, ...], lang: str) -> list[Any]:
    """``--source NAME PATHS``, or ``--source NAME=PATH`` once or more; a name given again adds to it."""
    from osparse.corpus import Input

    chosen = dict(_parted(option, "--option", "NAME=VALUE") for option in options)
    if len(sources) == 1 and "=" not in sources[0]:
        return [Input(sources[0], paths, chosen, lang)]
    if paths or chosen:
        raise InputError("with several sources give each its path, --source NAME=PATH, and no PATH or --option beside")
    by_name: dict[str, tuple[Path, ...]] = {}
    for source in sources:
        name, path = _parted(source, "--source", "NAME=PATH") if "=" in source else (source, "")
        by_name[name] = (*by_name.get(name, ()), *([LOCATION.convert(path, None, None)] if path else []))
    return [Input(name, of_source, lang=lang) for name, of_source in by_name.items()]


def _parted(text: str, flag: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise InputError(f"{flag} must be of the form {form}, got {text!r}")
    return name, value


@make_command(
    "stats",
    group=command,
    examples="osparse corpus stats data/deb-koen --json\nosparse corpus stats data/deb-koen --plots data/plots",
)
@click.argument("dataset", type=FOLDER)
@click.option(
    "--plots", type=FOLDER, help="A folder for pictures (PNG): lengths, languages, dates, filters, negatives, scores."
)
@click.option("--theme", type=click.Choice(["light", "dark"]), default="light", show_default=True, help="Of --plots.")
def stats(dataset: Path, plots: Path | None, theme: str) -> None:
    """Show a DATASET's counts, lengths, languages, dates and candidates, and check its splits (shared groups: exit 3).

    Candidates are hard negatives and teachers' scores: negatives per query, origins, scorers, their scores of relevant
    documents and of the others, and examples.
    """
    from osparse.cli.commands._corpus_stats import stats_text
    from osparse.contracts.dataset import Dataset
    from osparse.corpus import dataset_stats

    opened = Dataset.open(dataset)
    statistics = dataset_stats(opened)
    if plots is not None:
        from osparse.corpus.builder.plots import draw

        for path in draw(opened, plots, look=theme):
            log.info("wrote %s", path)
    if not statistics.shared_groups:
        echo(asdict(statistics), lambda: stats_text(statistics))
        return
    message = f"{dataset}: {statistics.shared_groups} groups are in more than one split; rebuild the dataset"
    failed = {"error": message, "exit_code": CheckError.exit_code}
    echo({**asdict(statistics), **failed}, lambda: stats_text(statistics))
    click.echo(f"osparse: {message}", err=True)  # not raised: the command line would print a second JSON result
    click.get_current_context().exit(CheckError.exit_code)


@make_command(
    "tokenizer",
    group=command,
    examples="osparse corpus tokenizer data/deb-koen --output data/tokenizer --vocab-size 16000\n"
    "osparse corpus tokenizer data/deb-koen --output data/unigram --kind unigram --vocab-size 12000",
)
@click.argument("dataset", type=FOLDER)
@click.option("--output", required=True, type=FOLDER, help="The Hugging Face tokenizer folder to write.")
@click.option(
    "--vocab-size", default=16_000, show_default=True, help="Number of tokens; a sparse_vector field takes 32,768."
)
@click.option(
    "--kind",
    type=click.Choice(["wordpiece", "unigram", "bpe"]),
    default="wordpiece",
    show_default=True,
    help="unigram cuts Korean nearer to its morphemes.",
)
@click.option("--split", help="Split to fit on, or all; default: train where the DATASET has it, else all.")
@click.option("--lowercase/--cased", default=True, show_default=True, help="Fold letter case.")
@click.option("--overwrite", is_flag=True, help="Replace what is at --output.")
def tokenizer(
    dataset: Path,
    output: Path,
    vocab_size: int,
    kind: Literal["wordpiece", "unigram", "bpe"],
    split: str | None,
    lowercase: bool,
    overwrite: bool,
) -> None:
    """Fit a Korean-English tokenizer on one split of a DATASET."""
    from osparse.contracts.dataset import Dataset
    from osparse.corpus import train_tokenizer

    opened = Dataset.open(dataset)
    report = train_tokenizer(
        opened, output, vocab_size=vocab_size, split=split, lowercase=lowercase, kind=kind, overwrite=overwrite
    )
    fewer = f", fewer than the {vocab_size:,} asked for: its texts hold no more pieces"
    lines = [f"{output}: {report.vocabulary:,} tokens{fewer if report.vocabulary < vocab_size else ''}"] + [
        f"  {where}: {report.unknown_share[where]:.3%} unknown, {report.pieces_per_word[where]:.2f} pieces per word"
        for where in report.unknown_share
    ]
    echo({**asdict(report), "path": str(output), "asked": vocab_size}, "\n".join(lines))
