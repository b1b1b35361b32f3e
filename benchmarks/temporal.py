"""What temporal query weights bring on time-split queries: an ablation of half-life and trends.

    python benchmarks/temporal.py --dataset build/deb-koen --model build/model

No dated collection comes with this repository, so dates are dealt to a dataset's own documents: each belongs to one of
``--topics`` topics (k-means of the model's document vectors), every topic has its season of the year, and a document is
dated within its topic's season (three quarters) or any day (the rest). The queries of a day are those whose answer is
of that day's last 30 days, asked against everything dated up to then: what people lately write about is what they ask.
IDF is counted on what is dated before the day. Measured: nDCG@10 of plain and temporal weights on the same queries.
"""

from __future__ import annotations

import argparse
import datetime
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.corpus.terms.idf import bm25_idf
from osparse.corpus.terms.recency import Recency
from osparse.corpus.terms.trends import TrendRules, compare, piece_boosts, terms_of
from osparse.encoders.torch_encoder import TextEncoder
from osparse.evaluation.exact_search import InvertedIndex, paired_randomisation_test
from osparse.evaluation.measures import NDCG, JudgedSet, judged_sets, measure
from osparse.formula.lexicon import MAX_WEIGHT, MIN_WEIGHT, load_tokenizer
from osparse.formula.query_encoder import QueryEncoder

FIRST = datetime.date(2025, 1, 1)
DAYS = 360
SEED = 0
Floats = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--topics", type=int, default=24)
    arguments = parser.parse_args()
    dataset, model = Dataset.open(arguments.dataset), Model.open(arguments.model)
    print(f"{dataset.path}, {arguments.split} split, {arguments.topics} topics, days 120 to {DAYS} by 30\n")
    print("| direction | weights | queries | nDCG@10 | difference | p |\n|---|---|---:|---:|---:|---:|")
    for judged in judged_sets(dataset, arguments.split):
        for row in rows(dataset, model, judged, arguments.topics):
            print(row)


def rows(dataset: Dataset, model: Model, judged: JudgedSet, topics: int) -> list[str]:
    there = dataset.documents.filter(pl.col("lang") == judged.document_lang).sort("id").collect()
    ids, texts = there["id"].to_list(), there["text"].to_list()
    vectors = np.zeros((len(ids), len(model.lexicon.tokens)), dtype=np.float32)
    for places, weights in TextEncoder.open(model).batches(texts):
        vectors[places] = weights[:, : vectors.shape[1]]
    held, terms = tokens_held(model, texts), [terms_of(text) for text in texts]
    days = deal_days(vectors, topics)
    encoder = QueryEncoder(load_tokenizer(model.path / "tokenizer.json"), model.lexicon)
    values: dict[str, dict[str, float]] = {}
    for today in range(120, DAYS + 1, 30):
        dated = np.flatnonzero(days < today)
        recent = {ids[i] for i in dated if days[i] >= today - 30}
        asked = {q: {d: g for d, g in found.items() if d in recent} for q, found in judged.qrels.items()}
        asked = {q: found for q, found in asked.items() if found}
        index = InvertedIndex()
        index.add([ids[i] for i in dated], vectors[dated])
        table = tables(held, days, dated, today)
        table["trends of 30 days"] = trending(model, table["plain"], texts, terms, dated, days[dated] >= today - 30)
        for name, idf in table.items():
            run = {}
            for query in asked:
                tokens = encoder.ids(judged.queries[query])
                run[query] = [d for d, _ in index.search(tokens, idf[tokens], 11)]
            for query, value in measure(asked, run).per_query[NDCG].items():
                values.setdefault(name, {})[f"{today}:{query}"] = value
    plain = np.array(list(values["plain"].values()))
    found = []
    for name, per_query in values.items():
        other = np.array([per_query[key] for key in values["plain"]])
        p = "" if name == "plain" else f"{paired_randomisation_test(other, plain):.4f}"
        difference = "" if name == "plain" else f"{other.mean() - plain.mean():+.4f}"
        found.append(f"| {judged.direction} | {name} | {len(plain)} | {other.mean():.4f} | {difference} | {p} |")
    return found


def tables(held: Floats, days: Floats, there: Floats, today: int) -> dict[str, Floats]:
    """Query weights counted on the documents dated before ``today``."""
    df = held[there].sum(0)
    idf = bm25_idf(df, len(there))
    as_of = FIRST + datetime.timedelta(days=today)
    dates = [FIRST + datetime.timedelta(days=int(days[i])) for i in there]
    found = {"plain": idf}
    for half_life, limit in ((30.0, 1.5), (30.0, 2.0), (30.0, 4.0), (90.0, 2.0)):
        recency = Recency(half_life=half_life, as_of=as_of, limit=limit)
        fading = recency.weights(dates)
        boost = recency.boost(df, len(there), fading @ held[there], float(fading.sum()))
        found[f"half-life {half_life:.0f}, at most x{limit:g}"] = idf * boost
    return {name: np.clip(table, MIN_WEIGHT, MAX_WEIGHT) for name, table in found.items()}


def trending(
    model: Model, idf: Floats, texts: list[str], terms: list[set[str]], dated: NDArray[np.int64],
    recent: NDArray[np.bool_],
) -> Floats:  # fmt: skip
    """``idf`` with the boosts of osparse corpus trends at its defaults, over what is dated."""
    rules = TrendRules(as_of=FIRST)
    now, before = (Counter(t for i in dated[part] for t in terms[i]) for part in (recent, ~recent))
    counts = {t: (now[t], before[t]) for t in now.keys() | before.keys() if now[t] + before[t] >= rules.min_documents}
    found = compare(sorted(counts), counts, int(recent.sum()), int((~recent).sum()))
    rising = sorted((t for t in found if t.q <= rules.fdr and t.log_odds > 0), key=lambda t: (-t.log_odds, t.term))
    boosts = piece_boosts(
        rising[: rules.top], model.path / "tokenizer.json", [texts[i] for i in dated[recent]], rules.max_boost
    )
    changed = idf.copy()
    for token, factor in boosts.items():
        changed[token] *= factor
    return np.clip(changed, MIN_WEIGHT, MAX_WEIGHT)


def tokens_held(model: Model, texts: list[str]) -> Floats:
    """(N, V) whether a document holds a token."""
    tokenizer = load_tokenizer(model.path / "tokenizer.json")
    held = np.zeros((len(texts), len(model.lexicon.tokens)), dtype=np.int32)
    for row, encoding in enumerate(tokenizer.encode_batch_fast(texts, add_special_tokens=False)):
        held[row, encoding.ids] = 1
    return held


def deal_days(vectors: Floats, topics: int) -> Floats:
    """(N,) day of each document: within the season of its topic, or for a fourth of them any day."""
    from sklearn.cluster import KMeans
    from sklearn.utils.extmath import randomized_svd

    reduced = randomized_svd(vectors, 50, random_state=SEED)[0]
    reduced /= np.linalg.norm(reduced, axis=1, keepdims=True)
    topic = KMeans(topics, n_init=1, random_state=SEED).fit_predict(reduced)
    generator = np.random.default_rng(SEED)
    season = generator.permutation(topics)[topic] * DAYS // topics
    inside = (season + generator.integers(0, 30, len(topic))) % DAYS
    return np.where(generator.random(len(topic)) < 0.75, inside, generator.integers(0, DAYS, len(topic)))


if __name__ == "__main__":
    main()
