"""What ``osparse train`` makes where nothing names it: a tokenizer and an IDF table of the training split."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from osparse.errors import InputError

if TYPE_CHECKING:
    from osparse.trainer.config.read_config import GivenPaths

VOCABULARY = 16_000
"""Tokens of the tokenizer that is made, where the texts hold as many."""
FOLDER = "inputs"
"""In the run folder."""
log = logging.getLogger("osparse.cli.commands.train")


@contextmanager
def made_inputs(
    config: str, dataset: Path, run: Path | None, overrides: Sequence[str], paths: GivenPaths, *, overwrite: bool
) -> Iterator[GivenPaths]:
    """``paths`` with a tokenizer of 16,000 tokens and an IDF table, each only where nothing else says which to use.

    They go to the run folder, or where ``run`` is None to a temporary one that lasts as long as the block.
    Raises :class:`InputError` where several processes would make them.
    """
    from osparse.contracts.dataset import Dataset
    from osparse.corpus import compute_idf, train_tokenizer
    from osparse.trainer.config.dataset_needs import require_candidates, require_splits
    from osparse.trainer.config.read_config import missing_inputs, read_config

    missing, tokenizer = missing_inputs(config, overrides, paths)
    if not missing:
        yield paths
        return
    settings = read_config(
        config, [*overrides, *(f"{name}={name}" for name in missing)], paths
    )  # raises what else is wrong
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        names = " and ".join(f"`{name}`" for name in sorted(missing, reverse=True))
        raise InputError(f"several processes cannot make the same files; give {names}")
    opened = Dataset.open(dataset)
    require_splits(opened)
    require_candidates(settings, opened)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (run or Path(temporary)) / FOLDER
        if "tokenizer" in missing:
            tokenizer = folder / "tokenizer"
            log.info("no tokenizer is given: fitting one of the dataset's training split, %s", tokenizer)
            made = train_tokenizer(opened, tokenizer, vocab_size=VOCABULARY, overwrite=overwrite)
            fewer = (
                f", fewer than {VOCABULARY:,}: the texts hold no more pieces" if made.vocabulary < VOCABULARY else ""
            )
            log.info("%s has %s tokens%s", tokenizer, f"{made.vocabulary:,}", fewer)
        if tokenizer is not None and "idf" in missing:
            idf = folder / "idf.json"
            log.info("no IDF table is given: counting the dataset's training split, %s", idf)
            compute_idf(opened, tokenizer, idf, overwrite=overwrite)
            paths = replace(paths, idf=idf)
        yield replace(paths, tokenizer=tokenizer) if "tokenizer" in missing else paths
