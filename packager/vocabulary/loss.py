"""What a trimmed vocabulary loses on a corpus: document weight, tokens of texts, and nDCG@10 with its p."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osparse.encoders.torch_encoder import TextEncoder
from osparse.evaluation.exact_run import exact_run
from osparse.evaluation.exact_search import InvertedIndex, paired_randomisation_test
from osparse.evaluation.measures import NDCG, JudgedSet, measure, run_depth
from osparse.io.progress import progress
from osparse.packager.checkpoint.loaded import LoadedModel
from osparse.packager.vocabulary.corpus_sample import CorpusSample


@dataclass(frozen=True, eq=False)
class Encoded:
    """The sample's documents as a model encodes them, stored as the index would store them."""

    index: InvertedIndex
    weights: NDArray[np.float64]
    """(V,) sum of each token's weights."""


def encode(loaded: LoadedModel, sample: CorpusSample, label: str) -> Encoded:
    """Encode the documents of a sample."""
    encoder = TextEncoder(loaded.encoder, loaded.tokenizer())
    index, sums = InvertedIndex(quantised=True), np.zeros(len(loaded.model.lexicon.tokens))
    with progress(label, sample.documents_to_encode, "documents") as bar:
        for batch in sample.encoded():
            for rows, weights in encoder.batches([text for _, text in batch]):
                weights = weights[:, : len(sums)]
                index.add([batch[row][0] for row in rows], weights)
                sums += weights.sum(0, dtype=np.float64)
                bar.advance(len(rows))
    return Encoded(index, sums)


def quality(
    before: tuple[LoadedModel, Encoded], after: tuple[LoadedModel, Encoded], sample: CorpusSample
) -> dict[str, Any]:
    """The manifest's ``trimming.ndcg``: both means, by direction too, and p of a paired randomisation test."""
    if not sample.sets:
        return {}
    values = [[_ndcg(*side, judged) for judged in sample.sets] for side in (before, after)]
    old, new = (np.concatenate(side) for side in values)
    directions = {judged.direction: _compared(a, b) for judged, a, b in zip(sample.sets, *values, strict=True)}
    return {
        "split": sample.measured,
        "queries": len(old),
        "documents": len(before[1].index),
        **_compared(old, new),
        "directions": directions,
    }


def _ndcg(loaded: LoadedModel, encoded: Encoded, judged: JudgedSet) -> NDArray[np.float64]:
    """nDCG@10 of each query of a direction, in order."""
    run = exact_run(encoded.index, loaded.query_encoder(), judged, run_depth([NDCG]))
    return measure(judged.qrels, run, [NDCG], judged.not_relevant).values(NDCG)


def _compared(before: NDArray[np.float64], after: NDArray[np.float64]) -> dict[str, float]:
    return {
        "before": round(float(before.mean()), 4),
        "after": round(float(after.mean()), 4),
        "p": round(paired_randomisation_test(after, before), 4),
    }


@dataclass(frozen=True)
class TokenChange:
    """How texts are tokenised before and after."""

    texts: int
    changed: int
    """Texts that have other tokens."""
    tokens: int
    gone: int
    """Tokens of the texts, counted as often as they occur, that are no longer there."""
    broken: int
    """Texts whose tokens are all still there, and which have others all the same; 0 unless something is wrong."""

    def to_json(self) -> dict[str, float]:
        """Shares of the texts and of the tokens."""
        return {
            "texts": self.texts,
            "texts_changed": _share(self.changed, self.texts),
            "tokens_gone": _share(self.gone, self.tokens),
        }


def token_change(
    before: LoadedModel, after: LoadedModel, batches: Iterable[list[str]], *, queries: bool = False
) -> TokenChange:
    """Tokenise texts as documents, or as queries, with both vocabularies."""
    old_tokenizer, new_tokenizer = (side.query_tokenizer() if queries else side.tokenizer() for side in (before, after))
    for tokenizer in (old_tokenizer, new_tokenizer):
        tokenizer.no_truncation()
    new_id = {token: i for i, token in enumerate(after.model.lexicon.tokens)}
    dealt = [new_id.get(token, -1) for token in before.model.lexicon.tokens]
    counts = np.zeros(5, np.int64)
    for texts in batches:
        pairs = zip(old_tokenizer.encode_batch_fast(texts), new_tokenizer.encode_batch_fast(texts), strict=True)
        for old, new in pairs:
            counts += _counted([dealt[i] for i in old.ids], new.ids)
    return TokenChange(*counts.tolist())


def _counted(old: Sequence[int], new: Sequence[int]) -> tuple[int, ...]:
    """(text, changed, tokens, gone, broken) of one text; ids that are gone are -1 in ``old``."""
    gone = sum(i < 0 for i in old)
    changed = list(old) != list(new)
    return 1, int(changed), len(old), gone, int(changed and not gone)


def dropped_weight(before: Encoded, stay: Iterable[int]) -> float:
    """Share of the documents' weight on tokens that go; ``stay`` are old ids."""
    total = float(before.weights.sum())
    return _share(total - float(before.weights[list(stay)].sum()), total)


def _share(part: float, whole: float) -> float:
    return float(f"{max(0.0, part) / whole:.3g}") if whole else 0.0
