"""The queries of a load test: those of a dataset, or the lines of a file."""

from __future__ import annotations

import random
from pathlib import Path

from osparse.errors import InputError
from osparse.io.streams import decoded, lines


def query_texts(dataset: Path | None, queries: Path | None, split: str = "test", seed: int = 0) -> list[str]:
    """Different texts: of a dataset's judged queries in a shuffled order, or of a file in its own.

    Args:
        queries: A text file with one query a line; empty lines do not count. It may be compressed.

    Raises:
        InputError: both or neither are given, or there is no query.
        DatasetError: ``dataset`` is none, or has no such split.
    """
    if (dataset is None) == (queries is None):
        raise InputError("give the queries as one of `dataset` and `queries`")
    if queries is not None:
        texts = list(dict.fromkeys(text for where, line in lines(queries) if (text := decoded(line, where).strip())))
        source = str(queries)
    else:
        from osparse.evaluation.measures import open_benchmark

        judged = open_benchmark(str(dataset), split).sets
        texts = list(dict.fromkeys(text for part in judged for text in part.queries.values()))
        random.Random(seed).shuffle(texts)
        source = f"the split {split} of {dataset}"
    if not texts:
        raise InputError(f"{source} has no query")
    return texts
