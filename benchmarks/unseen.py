"""The unseen grounds of benchmarks/quality.py: help pages of which the model has seen nothing.

A page's title (which its text does not hold) and sentences of it ask for the page, in Korean and English, in all four
directions. Half of the pages make the known items by which the fusion's weight is fitted, as osparse tune --known-items
does; the figures are of the other half's questions, against all pages. No judgement is used to choose anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl
from help_pages import Page, gnome_pages, libreoffice_pages
from lexical import Bm25, bigrams, morphemes, words
from quality_systems import (
    DENSE,
    DenseScores,
    ModelScores,
    OpenSearchBm25,
    System,
    Table,
    has_dense_encoder,
    hybrid,
    measures,
    ranked,
    remembered,
)

from osparse.contracts.model import Model
from osparse.corpus import compute_idf
from osparse.deployer.cluster.client import Cluster
from osparse.evaluation.measures import NDCG, Benchmark, JudgedSet
from osparse.io.files import canonical_json, write_atomic
from osparse.retrieval.systems.memory import encode_corpus
from osparse.retrieval.tuning.known_items.fit import WEIGHTS
from osparse.retrieval.tuning.known_items.queries import Text, known_items

GROUNDS: dict[str, Callable[[Path], list[Page]]] = {"gnome": gnome_pages, "libreoffice": libreoffice_pages}
PER_PAGE = 3
"""Sentences of a page that ask for it."""
Questions = list[tuple[str, str, set[str]]]
"""(language, text, groups of the pages that answer it)."""


def unseen_tables(name: str, build: Path, model: Model, cluster: Cluster) -> Iterator[tuple[str, Table]]:
    """(kind of question, table) of one ground."""
    pages = [page for page in GROUNDS[name](build) if page.text.strip()]
    choosing, asked = _halves(pages)
    known = page_sentences(choosing, per_page=1)
    yield from page_tables(name, pages, asked, known, build / f"{name}-idf.json", model, cluster)


def page_tables(
    name: str, pages: Sequence[Page], asked: Sequence[Page], known: Questions, idf: Path, model: Model, cluster: Cluster
) -> Iterator[tuple[str, Table]]:
    """(kind of question, table) of the questions that ask for the pages ``asked``, of all ``pages``.

    Args:
        known: Known items of other pages, which fit the hybrid's weight.
        idf: File to write, the query weights counted on the pages.
    """
    titles, sentences = benchmark(name, pages, _titles(asked)), benchmark(name, pages, page_sentences(asked))
    systems = opponents(titles, model, cluster, idf)
    weights = fitted(systems, benchmark(name, pages, known))
    print(f"{name}: weight of the model in the hybrid, fitted by known items: {weights}")
    for learned in weights:
        label = f"{DENSE} + OpenSearch BM25" if learned == DENSE else f"hybrid of {learned}"
        systems[label] = hybrid(systems["OpenSearch BM25"], systems[learned], weights[learned])
    for kind, data in (("titles", titles), ("sentences", sentences)):
        yield kind, {system: measures(scores, data) for system, scores in systems.items()}


def _halves(pages: Sequence[Page]) -> tuple[list[Page], list[Page]]:
    first = {page.group for page in pages if hashlib.md5(page.group.encode()).digest()[-1] % 2 == 0}
    return [page for page in pages if page.group in first], [page for page in pages if page.group not in first]


def _titles(pages: Sequence[Page]) -> Questions:
    """Pages of one title answer it together."""
    groups: dict[tuple[str, str], set[str]] = {}
    for page in pages:
        if page.title:
            groups.setdefault((page.lang, page.title), set()).add(page.group)
    return [(lang, title, found) for (lang, title), found in groups.items()]


def page_sentences(pages: Sequence[Page], per_page: int = PER_PAGE) -> Questions:
    items = known_items((Text(page.group, page.text, page.lang) for page in pages), per_page)
    return [(item.lang, item.query, {item.document}) for item in items]


def benchmark(name: str, pages: Sequence[Page], questions: Questions) -> Benchmark:
    """All pages as the corpus, and the questions in all four directions."""
    ids = {(page.group, page.lang): f"{page.group}:{page.lang}" for page in pages}
    rows = [(ids[page.group, page.lang], page.text, page.lang) for page in pages]
    langs = sorted({page.lang for page in pages})
    sets = []
    for asked in langs:
        for answered in langs:
            queries, qrels = dict[str, str](), dict[str, dict[str, int]]()
            for lang, text, groups in questions:
                relevant = {ids[group, answered]: 1 for group in groups if (group, answered) in ids}
                if lang == asked and relevant:
                    query = f"{lang}: {text}"
                    queries[query], qrels[query] = text, relevant
            documents = sorted(ids[page.group, page.lang] for page in pages if page.lang == answered)
            sets.append(JudgedSet(asked, answered, queries, documents, qrels, frozenset()))
    sets.sort(key=lambda judged: (judged.query_lang != judged.document_lang, judged.direction))
    fingerprint = hashlib.sha256(canonical_json(rows).encode()).hexdigest()
    frame = pl.DataFrame(rows, schema=["id", "text", "lang"], orient="row").lazy()
    return Benchmark(name, "unseen", fingerprint, frame, sets)


def opponents(data: Benchmark, model: Model, cluster: Cluster, idf: Path) -> dict[str, System]:
    """BM25 over words, morphemes, pieces and by OpenSearch; the model, also with query weights of these pages."""
    texts = {name: text for batch in data.texts() for name, text, _ in batch}
    index = encode_corpus(model, data, quantised=True)
    learned, own = ModelScores(model, index), ModelScores(model, index)
    rows = idf.with_suffix(".jsonl")
    write_atomic(rows, "".join(canonical_json({"text": text}) + "\n" for text in texts.values()))
    compute_idf([rows], model.path / "tokenizer.json", idf, overwrite=True)
    own.encoder = own.encoder.reweighted(idf)
    own.idf = own.encoder.lexicon.idf
    systems: dict[str, System] = {
        "BM25 words": Bm25(texts, words),
        "BM25 Hangul bigrams": Bm25(texts, bigrams),
        "BM25 own pieces": Bm25(texts, learned.pieces),
        "OpenSearch BM25": OpenSearchBm25(cluster, data),
        "model": learned,
        "model, own IDF": own,
    }
    tokens = morphemes()
    if tokens is not None:
        systems["BM25 kiwi morphemes"] = Bm25(texts, tokens)
    if has_dense_encoder():
        systems[DENSE] = DenseScores(texts, idf.parent / "dense")
    return {name: remembered(system) for name, system in systems.items()}


def fitted(systems: dict[str, System], data: Benchmark) -> dict[str, dict[str, float]]:
    """System -> direction -> its weight beside OpenSearch's BM25: across languages 1."""
    chosen: dict[str, dict[str, float]] = {}
    for name in (name for name in ("model", "model, own IDF", DENSE) if name in systems):
        for judged in data.sets:
            within = judged.query_lang == judged.document_lang
            chosen.setdefault(name, {})[judged.direction] = _best(systems, name, judged) if within else 1.0
    return chosen


def _best(systems: dict[str, System], name: str, judged: JudgedSet) -> float:
    def ndcg(weight: float) -> float:
        fusion = hybrid(systems["OpenSearch BM25"], systems[name], {judged.direction: weight})
        return ranked(fusion(judged), judged).mean(NDCG)

    return max(reversed(WEIGHTS), key=ndcg)
