"""``osparse idf``: BM25's inverse document frequency of every token of a vocabulary."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osparse.contracts.dataset import Dataset
from osparse.corpus.terms.counted_texts import CountedTexts, Dated, counted_texts
from osparse.corpus.terms.recency import Recency
from osparse.errors import InputError
from osparse.formula.lexicon import MIN_WEIGHT, Lexicon, load_tokenizer, read_vocabulary
from osparse.io.files import pretty_json, read_json, sha256_file, write_atomic
from osparse.io.locations import expanded
from osparse.io.progress import progress
from osparse.io.streams import as_files
from osparse.rows.row_rules import make_rules

FORMULA = "ln(1 + (N - df + 0.5) / (df + 0.5))"
BATCH = 512
"""Documents tokenised at a time."""

REPLACE = "replace it with `overwrite=True`, or write another `output`"
log = logging.getLogger("osparse.corpus.terms.idf")


def compute_idf(
    source: Dataset | Sequence[Path],
    tokenizer: Path | str,
    output: Path | str,
    *,
    split: str | None = None,
    text_field: str | Sequence[str] | None = None,
    template: str | None = None,
    recency: Recency | None = None,
    trends: Path | str | None = None,
    overwrite: bool = False,
) -> Lexicon:
    """Count in how many documents each token occurs and write idf.json, with its provenance beside it.

    ``idf = ln(1 + (N - df + 0.5) / (df + 0.5))``, the non-negative form of BM25's (Lucene's BM25Similarity), over the
    N documents counted, tokenised whole; clamped to [1e-6, 64]. A token seen in no document gets the
    formula's value at df = 0, the largest; special tokens get the floor, 1e-6. With ``recency`` each weight is times
    the token's boost (osparse.corpus.terms.recency), with ``trends`` times that of ``osparse corpus trends``.
    Documents do not change with it: the table can be replaced without indexing again.

    ``output`` (idf.json) holds the flat dict alone; ``idf.meta.json`` beside it holds the dataset's fingerprint, the
    split, N, the formula and the tokenizer's sha256, and is what says whether an existing table is up to date.

    Args:
        source: a dataset, or files of rows (JSON lines or an array, CSV, TSV, Parquet or Arrow, also compressed;
            patterns and addresses too) with a field ``text``.
        tokenizer: a folder with a tokenizer.json, or that file.
        split: of a dataset, whose judged documents are counted, or ``all``; None is ``train`` where it has that split,
            else all.
        text_field: of files, the name of the text; several fields make it together, each on a line of its own.
        template: of files, how fields make the text, as ``{title}\\n{body}``.

    Raises:
        ModelError: no tokenizer.json.
        DatasetError: the dataset lacks the split, or a row of a file is no document.
        InputError: ``output`` exists, made from other inputs, and ``overwrite`` is false; no document, or none with a
            date that ``recency`` could count; ``trends`` was made with another tokenizer.
    """
    rules = make_rules(None, text_field, template)
    if isinstance(source, Dataset):
        return _table(counted_texts(source, split, rules), tokenizer, output, recency, trends, overwrite)
    with as_files(expanded(source)) as files:  # they are read twice
        return _table(counted_texts(files, split, rules), tokenizer, output, recency, trends, overwrite)


def _table(
    texts: CountedTexts,
    tokenizer: Path | str,
    output: Path | str,
    recency: Recency | None,
    trends: Path | str | None,
    overwrite: bool,
) -> Lexicon:
    file, output = _tokenizer_file(Path(tokenizer)), Path(output)
    tokens, special = read_vocabulary(file)
    request = _request(texts, file, recency, trends)
    if output.exists() and not overwrite:
        _check_same(output, _meta(output), request)
        log.info("%s is up to date", output)
        return Lexicon.open(file, output)
    factors = trend_boosts(Path(trends), file, len(tokens)) if trends is not None else None
    counts = count_tokens(file, texts.read(), len(tokens), total=texts.total, recency=recency)
    weights = token_weights(counts, texts.name, recency, factors)
    weights[list(special)] = MIN_WEIGHT
    lexicon = Lexicon.build(tokens, special, {t: float(w) for t, w in zip(tokens, weights, strict=True) if t})
    write_atomic(output, lexicon.idf_text())
    write_atomic(_meta(output), pretty_json(_provenance(output, request, counts, texts, trends, lexicon.version)))
    return lexicon


@dataclass(frozen=True, eq=False)
class Counts:
    """In how many documents each token occurs."""

    documents: int
    df: NDArray[np.int64]
    """(V,)"""
    recent_df: NDArray[np.float64]
    """(V,) the same with each document counting by its recency; zeros without one."""
    recency: NDArray[np.float64]
    """(N,) how much each document counts as recent; zeros without one."""


def count_tokens(
    tokenizer: Path,
    texts: Iterable[Dated],
    vocabulary: int,
    *,
    total: int | None = None,
    recency: Recency | None = None,
) -> Counts:
    """Count the texts in which each id occurs; they are not truncated, special tokens not added.

    Holds a batch of texts and 8 bytes a document.
    """
    loaded, rest = load_tokenizer(tokenizer), iter(texts)
    df, recent_df = np.zeros(vocabulary, dtype=np.int64), np.zeros(vocabulary)
    parts = [np.zeros(0)]
    with progress("counting tokens", total, "documents") as bar:
        while batch := list(islice(rest, BATCH)):
            weights = recency.weights([day for _, day in batch]) if recency else np.zeros(len(batch))
            encodings = loaded.encode_batch_fast([text for text, _ in batch], add_special_tokens=False)
            for encoding, weight in zip(encodings, weights, strict=True):
                ids = np.unique(np.array(encoding.ids, dtype=np.int64))
                df[ids] += 1
                recent_df[ids] += weight
            parts.append(weights)
            bar.advance(len(batch))
    recent = np.concatenate(parts)
    return Counts(len(recent), df, recent_df, recent)


def token_weights(
    counts: Counts, name: str, recency: Recency | None = None, factors: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """(V,) weights, unclamped; raises :class:`InputError` where ``name`` gave nothing to count."""
    if not counts.documents:
        raise InputError(f"{name}: no document has text; there is nothing to count")
    weights = bm25_idf(counts.df, counts.documents)
    if recency is not None:
        if not counts.recency.any():
            raise InputError(
                f"{name}: no document has a date up to {recency.as_of}; temporal weights need dated documents; leave "
                "the half-life out for plain ones"
            )
        weights *= recency.boost(counts.df, counts.documents, counts.recent_df, float(counts.recency.sum()))
    return weights if factors is None else weights * factors


def bm25_idf(df: NDArray[np.int64], documents: int) -> NDArray[np.float64]:
    """(V,) document frequencies -> (V,) weights, unclamped."""
    return np.log1p((documents - df + 0.5) / (df + 0.5))


def trend_boosts(trends: Path, tokenizer: Path, vocabulary: int) -> NDArray[np.float64]:
    """(V,) factors of a trends report; raises :class:`InputError` if it is none, or of another tokenizer."""
    raw = read_json(trends)
    boosts = raw.get("boosts") if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or not isinstance(boosts, dict):
        raise InputError(f"{trends} is not a trends report with boosts of tokens; make one with a tokenizer")
    if raw.get("tokenizer_sha256") != sha256_file(tokenizer):
        raise InputError(f"{trends} was made with another tokenizer than {tokenizer}; make it again with this one")
    factors = np.ones(vocabulary)
    for token, factor in boosts.items():
        factors[int(token)] = float(factor)
    return factors


def _tokenizer_file(path: Path) -> Path:
    return path / "tokenizer.json" if path.is_dir() else path


def _meta(output: Path) -> Path:
    return output.with_suffix(".meta.json")


def _request(
    texts: CountedTexts, tokenizer: Path, recency: Recency | None, trends: Path | str | None
) -> dict[str, Any]:
    """What makes a table the same one."""
    return {
        **texts.about,
        "tokenizer_sha256": sha256_file(tokenizer),
        "formula": FORMULA,
        "recency": recency.to_json() if recency else None,
        "trends_sha256": sha256_file(Path(trends)) if trends else None,
    }


def _provenance(
    output: Path, request: dict[str, Any], counts: Counts, texts: CountedTexts, trends: Path | str | None, version: str
) -> dict[str, Any]:
    """What the table at ``output`` was made from."""
    note = {
        **request,
        "documents": counts.documents,
        "tokens_seen": int((counts.df > 0).sum()),
        "sha256": sha256_file(output),
    }
    if request["recency"] is not None:
        note["dated_documents"] = int((counts.recency > 0).sum())
    if trends is not None:
        report = read_json(Path(trends))
        note["trends"] = {key: report.get(key) for key in ("dataset", "split")}
    if texts.files:
        note["files"] = texts.files
    return {**note, "version": version}


def _check_same(output: Path, meta: Path, request: dict[str, Any]) -> None:
    found = read_json(meta) if meta.is_file() else {}
    if not isinstance(found, dict) or {key: found.get(key) for key in request} != request:
        raise InputError(f"{output} exists, made from other inputs; {REPLACE}")
    if not output.is_file() or found.get("sha256") != sha256_file(output):
        raise InputError(f"{output} was changed since it was made; {REPLACE}")
