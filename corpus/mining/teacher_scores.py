"""Teachers' scores of a dataset's candidates: what the trainer distils from, and how many negatives seem to be answers.

A teacher is a folder: a cross-encoder (a sequence classifier with one label), a trained osparse model, or a dense
bi-encoder. Several calls add several teachers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osparse.contracts.dataset import CANDIDATES, Dataset
from osparse.contracts.model import Model, texts_learnt_by
from osparse.corpus.mining.retrained import save_retrained
from osparse.corpus.text.analysis import terms
from osparse.errors import InputError, ModelError
from osparse.evaluation.candidate_lists import CandidateList, bm25_scores, draw_lists
from osparse.evaluation.teacher_quality import TeacherQuality, judge_teacher
from osparse.formula.head import SERVER_MAX_TOKENS
from osparse.formula.lexicon import load_tokenizer
from osparse.formula.query_encoder import QueryEncoder
from osparse.io.files import read_json, require_replaceable
from osparse.io.progress import progress
from osparse.plugins.extras import require

log = logging.getLogger("osparse.corpus.mining.teacher_scores")
Scores = NDArray[np.float32]
Score = Callable[[Sequence[str], Sequence[str]], Scores]
"""(n queries, n documents) -> (n,) scores of the pairs."""
PAIRS = 4096
"""Pairs scored at a time, sorted by query so that few texts are encoded twice."""


@dataclass(frozen=True)
class ScoringReport:
    """What a teacher said."""

    teacher: str
    pairs: int
    negatives: int
    """Labelled negatives of queries that have a scored answer."""
    false_negative_rate: float | None
    """Share of them that the teacher scores at least as high as the query's best answer; None without negatives."""
    quality: TeacherQuality
    """How well it ranks the candidate lists of some of the queries."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "quality": self.quality.to_json()}

    def __str__(self) -> str:
        rate = self.false_negative_rate
        false = "no negatives to judge" if rate is None else f"{rate:.1%} of the negatives score at least as the answer"
        return f"{self.teacher} scored {self.pairs:,} pairs; {false}\n{self.quality.text()}"


def score_candidates(
    dataset: Dataset,
    output: Path | str,
    teacher: Path | str,
    *,
    name: str | None = None,
    retriever: Path | str | None = None,
    overwrite: bool = False,
) -> tuple[Dataset, ScoringReport]:
    """Write a copy of a dataset in which every training query's answers and candidates have a teacher's score.

    Args:
        name: What the scores are called; the folder's name where it is not given.
        retriever: A model's folder that is measured beside the teacher, such as the one that mined the candidates.

    Raises:
        DatasetError: the train split has no candidates.
        ModelError: the folder is not a teacher.
        InputError: the dataset has scores of that name, or ``output`` exists and ``overwrite`` is false.
    """
    require("torch", "train")
    require_replaceable(Path(output), "manifest.json", overwrite)
    candidates = dataset.candidates("train").collect()
    teacher = Path(teacher)
    require_teacher(teacher)
    name = name or teacher.resolve().name
    if name in set(candidates["scorer"]):
        raise InputError(f"{dataset.path} has scores of {name!r} already; give another name")
    answers = dataset.qrels("train").filter(pl.col("score") > 0).select("query_id", "document_id").collect()
    pairs = pl.concat([candidates.select("query_id", "document_id"), answers]).unique().sort("query_id", "document_id")
    scores = _score(dataset, pairs, make_score(teacher))
    scored = pairs.with_columns(
        label=pl.lit(None, pl.Float32), score=pl.Series(scores), origin=pl.lit("distilled"), scorer=pl.lit(name)
    ).select(pl.col(column).cast(kind) for column, kind in CANDIDATES.items())
    quality = _quality(dataset, name, scored, Path(retriever) if retriever is not None else None)
    if quality.verdict != "better than chance":
        log.warning("%s: %s", quality.finding(), quality.verdict)
    report = _report(name, scored, answers, candidates, quality)
    written = save_retrained(
        dataset,
        Path(output),
        candidates=pl.concat([candidates, scored]),
        notes={"teachers": [*dataset.manifest.notes.get("teachers", []), _note(report)]},
        teacher_texts=texts_learnt_by(teacher, "teacher"),
        overwrite=overwrite,
    )
    return written, report


def _note(report: ScoringReport) -> dict[str, Any]:
    """What the manifest keeps: no texts."""
    plain = report.to_json()
    del plain["quality"]["examples"]
    return plain


def make_score(folder: Path) -> Score:
    """How a teacher's folder scores pairs of texts; raises :class:`ModelError` if it is not a teacher."""
    require_teacher(folder)
    if (folder / "osparse.json").is_file():
        return _sparse(folder)
    raw = read_json(folder / "config.json")
    kinds = raw.get("architectures") if isinstance(raw, dict) else None
    if any(str(kind).endswith("ForSequenceClassification") for kind in kinds or []):
        return _cross(folder)
    return _dense(folder)


def require_teacher(folder: Path) -> None:
    """Raises :class:`ModelError` for a folder that cannot be a teacher; looks at names alone, before long work."""
    if not any((folder / name).is_file() for name in ("osparse.json", "config.json")):
        raise ModelError(f"{folder} has no config.json; a teacher is a cross-encoder, a bi-encoder or an osparse model")


def _score(dataset: Dataset, pairs: pl.DataFrame, score: Score) -> Scores:
    queries = dict(dataset.queries.select("id", "text").collect().iter_rows())
    wanted = pairs.select(pl.col("document_id").unique().alias("id")).lazy()
    documents = dict(dataset.documents.join(wanted, on="id", how="semi").select("id", "text").collect().iter_rows())
    found = np.empty(pairs.height, dtype=np.float32)
    with progress("score candidates", pairs.height, "pairs") as bar:
        for start in range(0, pairs.height, PAIRS):
            part = pairs[start : start + PAIRS]
            asked = [queries[name] for name in part["query_id"]]
            found[start : start + part.height] = score(asked, [documents[name] for name in part["document_id"]])
            bar.advance(part.height)
    return found


def _quality(dataset: Dataset, name: str, scored: pl.DataFrame, retriever: Path | None) -> TeacherQuality:
    """The teacher on lists of the training split, beside BM25 and the retriever."""
    lists = draw_lists(dataset)
    others = {"bm25": bm25_scores(lists, terms)}
    if retriever is not None:
        others[retriever.resolve().name] = _list_scores(make_score(retriever), lists)
    drawn = pl.Series([one.query_id for one in lists], dtype=pl.String).unique()
    known = scored.filter(pl.col("query_id").is_in(drawn.implode())).select("query_id", "document_id", "score")
    by_pair = {(query, document): score for query, document, score in known.iter_rows()}
    own = [
        np.array([by_pair.get((one.query_id, document), np.nan) for document in one.document_ids], np.float64)
        for one in lists
    ]
    return judge_teacher(name, lists, own, others)


def _list_scores(score: Score, lists: Sequence[CandidateList]) -> list[NDArray[np.float64]]:
    queries = [one.query for one in lists for _ in one.documents]
    flat = score(queries, [text for one in lists for text in one.documents]).astype(np.float64)
    return np.split(flat, np.cumsum([len(one.documents) for one in lists])[:-1])


def _report(
    name: str, found: pl.DataFrame, answers: pl.DataFrame, candidates: pl.DataFrame, quality: TeacherQuality
) -> ScoringReport:
    scores = found.select("query_id", "document_id", "score")
    best = answers.join(scores, on=["query_id", "document_id"]).group_by("query_id").agg(best=pl.col("score").max())
    negatives = candidates.filter(pl.col("label") <= 0).select("query_id", "document_id").unique()
    judged = negatives.join(scores, on=["query_id", "document_id"]).join(best, on="query_id")
    rate = judged.select((pl.col("score") >= pl.col("best")).mean()).item() if judged.height else None
    return ScoringReport(name, found.height, judged.height, rate, quality)


def _unique(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Distinct texts, and for each text its place among them."""
    distinct = list(dict.fromkeys(texts))
    place = {text: i for i, text in enumerate(distinct)}
    return distinct, np.array([place[text] for text in texts], dtype=np.int64)


def _sparse(folder: Path) -> Score:
    from osparse.encoders.torch_encoder import TextEncoder

    model = Model.open(folder)
    encoder = TextEncoder.open(model)
    query = QueryEncoder(load_tokenizer(folder / "tokenizer.json"), model.lexicon)

    def score(queries: Sequence[str], documents: Sequence[str]) -> Scores:
        distinct, place = _unique(documents)
        asked = {text: query.ids(text) for text in dict.fromkeys(queries)}
        waiting: dict[int, list[int]] = {}
        for row, document in enumerate(place.tolist()):
            waiting.setdefault(document, []).append(row)
        found = np.empty(len(queries), dtype=np.float32)
        for rows, weights in encoder.batches(distinct):
            for row, vector in zip(rows, weights, strict=True):
                for pair in waiting[row]:
                    ids = asked[queries[pair]]
                    found[pair] = vector[ids] @ model.lexicon.idf[ids]
        return found

    return score


def _dense(folder: Path) -> Score:
    from osparse.encoders.dense_encoder import DenseEncoder

    encoder = DenseEncoder(folder)

    def score(queries: Sequence[str], documents: Sequence[str]) -> Scores:
        asked, asked_place = _unique(queries)
        held, held_place = _unique(documents)
        products = encoder.encode(asked)[asked_place] * encoder.encode(held)[held_place]
        return np.asarray(products.sum(1), dtype=np.float32)

    return score


def _cross(folder: Path) -> Score:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model: Any = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as problem:
        first = str(problem).strip().partition("\n")[0]
        raise ModelError(f"{folder} is not a cross-encoder: {first}") from None
    if model.config.num_labels != 1:
        raise ModelError(f"{folder} has {model.config.num_labels} labels; a cross-encoder must have one, its score")
    model = model.float().eval()
    length = min(SERVER_MAX_TOKENS, int(tokenizer.model_max_length))

    def score(queries: Sequence[str], documents: Sequence[str]) -> Scores:
        order = sorted(range(len(queries)), key=lambda i: -len(documents[i]))
        found = np.empty(len(queries), dtype=np.float32)
        for start in range(0, len(order), 32):
            rows = order[start : start + 32]
            inputs = tokenizer(
                [queries[i] for i in rows], [documents[i] for i in rows], padding=True, truncation="longest_first",
                max_length=length, return_tensors="pt",
            )  # fmt: skip
            with torch.inference_mode():
                found[rows] = model(**inputs).logits[:, 0].float().numpy()
        return found

    return score
