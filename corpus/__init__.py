"""Text in, a dataset out: readers, splits, tokenizer, IDF."""

from __future__ import annotations

from osparse.corpus.build import build_dataset
from osparse.corpus.idf import compute_idf
from osparse.corpus.idf_diff import IdfDiff, diff_idf
from osparse.corpus.mining import MiningReport, MiningRules, mine
from osparse.corpus.recency import Recency
from osparse.corpus.scoring import ScoringReport, score_candidates
from osparse.corpus.stats import Stats, dataset_stats
from osparse.corpus.synonyms import SynonymReport, SynonymRules, find_synonyms
from osparse.corpus.tokenizer import TokenizerReport, train_tokenizer
from osparse.corpus.trends import TrendReport, TrendRules, find_trends

__all__ = [
    "IdfDiff",
    "MiningReport",
    "MiningRules",
    "Recency",
    "ScoringReport",
    "Stats",
    "SynonymReport",
    "SynonymRules",
    "TokenizerReport",
    "TrendReport",
    "TrendRules",
    "build_dataset",
    "compute_idf",
    "dataset_stats",
    "diff_idf",
    "find_synonyms",
    "find_trends",
    "mine",
    "score_candidates",
    "train_tokenizer",
]
