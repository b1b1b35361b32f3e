"""A copy of a dataset that differs in what training reads of it: its candidates, and perhaps its judgements."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from osparse.contracts.dataset import Dataset, save_dataset
from osparse.contracts.seen import SeenTexts


def save_retrained(
    dataset: Dataset,
    path: Path,
    *,
    candidates: pl.DataFrame,
    notes: Mapping[str, Any],
    qrels: pl.DataFrame | None = None,
    teacher_texts: SeenTexts | None = None,
    overwrite: bool = False,
) -> Dataset:
    """Write a copy of a dataset that differs in what training reads; raises as :func:`save_dataset`.

    Args:
        candidates: The training split's.
        notes: Added to the manifest's; ``derived_from`` there names the dataset and those it was derived from.
        qrels: The training split's, where they change.
        teacher_texts: What a teacher whose scores are among the candidates learnt from; added to the dataset's list.
    """
    others = {s: dataset.candidates(s) for s in dataset.splits if s != "train" and dataset.has_candidates(s)}
    earlier = dataset.manifest.notes
    texts = [part for part in (dataset.teachers_texts(), teacher_texts) if part is not None]
    judged = {split: dataset.qrels(split) for split in dataset.splits}
    return save_dataset(
        path,
        documents=dataset.documents,
        queries=dataset.queries,
        qrels=judged if qrels is None else {**judged, "train": qrels},
        candidates={**others, "train": candidates},
        sources=dataset.manifest.sources,
        split_rule=dataset.manifest.split_rule,
        seed=dataset.manifest.seed,
        notes={**earlier, **notes, "derived_from": [*earlier.get("derived_from", []), dataset.fingerprint]},
        teachers_texts=texts[0].union(*texts[1:]) if texts else None,
        overwrite=overwrite,
    )
