"""``osparse idf``: the query weights of a tokenizer on a dataset."""

from __future__ import annotations

from pathlib import Path

import click

from osparse.commands._common import FOLDER, echo
from osparse.commands._common import command as make_command


@make_command(
    "idf",
    examples="osparse idf data/deb-koen --tokenizer data/tokenizer --output data/idf.json",
)
@click.argument("dataset", type=FOLDER)
@click.option("--tokenizer", required=True, type=FOLDER, help="A folder with a tokenizer.json, or that file.")
@click.option("--output", required=True, type=FOLDER, help="idf.json; its provenance goes to idf.meta.json beside it.")
@click.option("--split", default="train", show_default=True, help="Whose documents are counted.")
@click.option("--overwrite", is_flag=True, help="Replace what is at --output.")
def command(dataset: Path, tokenizer: Path, output: Path, split: str, overwrite: bool) -> None:
    """Count tokens over one split of a DATASET and write every token's inverse document frequency."""
    from osparse.corpus import compute_idf
    from osparse.dataset import Dataset

    lexicon = compute_idf(Dataset.open(dataset), tokenizer, output, split=split, overwrite=overwrite)
    ordinary = [i for i, token in enumerate(lexicon.tokens) if token and i not in set(lexicon.special_ids)]
    low, high = (float(f(lexicon.idf[ordinary])) for f in (min, max))
    result = {"path": str(output), "version": lexicon.version, "tokens": len(ordinary), "lowest": low, "highest": high}
    echo(result, f"{output}: {len(ordinary):,} tokens, weights {low:.3f} to {high:.3f}, version {lexicon.version}")
