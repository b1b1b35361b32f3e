"""``osparse idf``: BM25's inverse document frequency of every token of a vocabulary."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osparse.corpus.recency import Recency
from osparse.dataset import Dataset
from osparse.errors import InputError
from osparse.files import pretty_json, read_json, sha256_file, write_atomic
from osparse.lexicon import MIN_WEIGHT, Lexicon, load_tokenizer, read_vocabulary
from osparse.progress import progress

FORMULA = "ln(1 + (N - df + 0.5) / (df + 0.5))"
BATCH = 512
"""Documents tokenised at a time."""

log = logging.getLogger("osparse.corpus.idf")


def compute_idf(
    dataset: Dataset,
    tokenizer: Path | str,
    output: Path | str,
    *,
    split: str = "train",
    recency: Recency | None = None,
    trends: Path | str | None = None,
    overwrite: bool = False,
) -> Lexicon:
    """Count in how many of a split's documents each token occurs and write idf.json, with its provenance beside it.

    ``idf = ln(1 + (N - df + 0.5) / (df + 0.5))``, the non-negative form of BM25's (Lucene's BM25Similarity), over the
    N documents judged in ``split``, tokenised whole; clamped to [1e-6, 64]. A token seen in no document gets the
    formula's value at df = 0, the largest; special tokens get the floor, 1e-6. With ``recency`` each weight is times
    the token's boost (osparse.corpus.recency), with ``trends`` times that of a report of ``osparse corpus trends``.
    Documents do not change with it: the table can be replaced without indexing again.

    ``output`` (idf.json) holds the flat dict alone; ``idf.meta.json`` beside it holds the dataset's fingerprint, the
    split, N, the formula and the tokenizer's sha256, and is what says whether an existing table is up to date.

    Args:
        tokenizer: a folder with a tokenizer.json, or that file.

    Raises:
        ModelError: no tokenizer.json.
        DatasetError: the dataset lacks the split.
        InputError: ``output`` exists, made from other inputs, and ``overwrite`` is false; no document has a date that
            ``recency`` could count; ``trends`` was made with another tokenizer.
    """
    file, output = _tokenizer_file(Path(tokenizer)), Path(output)
    meta = output.with_suffix(".meta.json")
    tokens, special = read_vocabulary(file)
    request = {
        "dataset": dataset.fingerprint,
        "split": split,
        "tokenizer_sha256": sha256_file(file),
        "formula": FORMULA,
        "recency": recency.plain() if recency else None,
        "trends_sha256": sha256_file(Path(trends)) if trends else None,
    }
    if output.exists() and not overwrite:
        _check_same(output, meta, request)
        log.info("%s is up to date", output)
        return Lexicon.open(file, output)
    documents = dataset.split_documents(split).select("text", "date").collect()
    fading = None
    if recency is not None:
        fading = recency.weights(documents["date"].to_list())
        if not fading.any():
            raise InputError(
                f"{dataset.path}: no document of the {split} split has a date up to {recency.as_of}; temporal weights "
                "need dated documents; leave --half-life out for plain ones"
            )
    df, recent = document_frequency(file, documents["text"], len(tokens), total=documents.height, fading=fading)
    weights = bm25_idf(df, documents.height)
    if recency is not None and fading is not None:
        weights *= recency.boost(df, documents.height, recent, float(fading.sum()))
    if trends is not None:
        weights *= trend_boosts(Path(trends), file, len(tokens))
    weights[list(special)] = MIN_WEIGHT
    lexicon = Lexicon.build(tokens, special, {t: float(w) for t, w in zip(tokens, weights, strict=True) if t})
    write_atomic(output, lexicon.to_json())
    note: dict[str, Any] = {
        **request,
        "documents": documents.height,
        "tokens_seen": int((df > 0).sum()),
        "sha256": sha256_file(output),
    }
    if fading is not None:
        note["dated_documents"] = int((fading > 0).sum())
    if trends is not None:
        report = read_json(Path(trends))
        note["trends"] = {key: report.get(key) for key in ("dataset", "split")}
    write_atomic(meta, pretty_json({**note, "version": lexicon.version}))
    return lexicon


def bm25_idf(df: NDArray[np.int64], documents: int) -> NDArray[np.float64]:
    """(V,) document frequencies -> (V,) weights, unclamped."""
    return np.log1p((documents - df + 0.5) / (df + 0.5))


def document_frequency(
    tokenizer: Path,
    texts: Iterable[str],
    vocabulary: int,
    *,
    total: int | None = None,
    fading: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(V,) number of texts in which each id occurs, and (V,) the same with each text counting ``fading`` (N,).

    Texts are not truncated, special tokens not added. Without ``fading`` the second is zeros.
    """
    loaded = load_tokenizer(tokenizer)
    df, faded = np.zeros(vocabulary, dtype=np.int64), np.zeros(vocabulary)
    batch: list[str] = []
    done = 0

    def count() -> None:
        nonlocal done
        for encoding in loaded.encode_batch_fast(batch, add_special_tokens=False):
            ids = np.unique(np.array(encoding.ids, dtype=np.int64))
            df[ids] += 1
            if fading is not None:
                faded[ids] += fading[done]
            done += 1
        bar.advance(len(batch))
        batch.clear()

    with progress("counting tokens", total, "documents") as bar:
        for text in texts:
            batch.append(text)
            if len(batch) == BATCH:
                count()
        count()
    return df, faded


def trend_boosts(trends: Path, tokenizer: Path, vocabulary: int) -> NDArray[np.float64]:
    """(V,) factors of a trends report; raises :class:`InputError` if it is none, or of another tokenizer."""
    raw = read_json(trends)
    boosts = raw.get("boosts") if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or not isinstance(boosts, dict):
        raise InputError(f"{trends} is no report of osparse corpus trends; make one with --tokenizer")
    if raw.get("tokenizer_sha256") != sha256_file(tokenizer):
        raise InputError(f"{trends} was made with another tokenizer than {tokenizer}; make it again with this one")
    factors = np.ones(vocabulary)
    for token, factor in boosts.items():
        factors[int(token)] = float(factor)
    return factors


def highest(documents: int) -> float:
    """The weight of a token seen in none of ``documents`` texts."""
    return math.log1p((documents + 0.5) / 0.5)


def _tokenizer_file(path: Path) -> Path:
    return path / "tokenizer.json" if path.is_dir() else path


def _check_same(output: Path, meta: Path, request: dict[str, Any]) -> None:
    found = read_json(meta) if meta.is_file() else {}
    if not isinstance(found, dict) or {key: found.get(key) for key in request} != request:
        raise InputError(f"{output} exists, made from other inputs; pass --overwrite, or choose another --output")
    if not output.is_file() or found.get("sha256") != sha256_file(output):
        raise InputError(f"{output} was changed since it was made; pass --overwrite, or choose another --output")
