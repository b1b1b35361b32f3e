"""Runs from a model alone: the corpus encoded with torch, ranked exactly in memory."""

from __future__ import annotations

from osparse.contracts.model import Model
from osparse.evaluation.exact_search import InvertedIndex
from osparse.evaluation.measures import ASKED, Benchmark, JudgedSet
from osparse.formula.lexicon import load_tokenizer
from osparse.formula.weights import QueryEncoder
from osparse.io.progress import progress, track


def encode_corpus(model: Model, data: Benchmark, *, quantised: bool, device: str = "cpu") -> InvertedIndex:
    """All documents of the benchmark under one inverted index over token ids."""
    from osparse.plugins.extras import require

    require("torch", "train")
    from osparse.encoders.torch_encoder import TextEncoder

    encoder = TextEncoder.open(model, device=device)
    index = InvertedIndex(quantised=quantised)
    with progress("encode documents", sum(data.languages.values()), "documents") as bar:
        for batch in data.texts():
            for rows, weights in encoder.batches([text for _, text, _ in batch]):
                index.add([batch[row][0] for row in rows], weights)
                bar.advance(len(rows))
    return index


def model_run(model: Model, index: InvertedIndex, judged: JudgedSet) -> dict[str, list[str]]:
    """Query id -> the ids of its best documents among the set's, best first."""
    tokenizer = load_tokenizer(model.path / "tokenizer.json")
    encoder = QueryEncoder(tokenizer, model.lexicon)
    only = index.subset(judged.document_ids)
    run: dict[str, list[str]] = {}
    for query, text in track(judged.queries.items(), f"rank {judged.direction}", len(judged.queries), "queries"):
        ids = encoder.ids(text)
        run[query] = [document for document, _ in index.search(ids, model.lexicon.idf[ids], ASKED, only=only)]
    return run
