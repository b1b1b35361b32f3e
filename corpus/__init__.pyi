from .builder.build import Input, build_dataset, build_from
from .builder.stats import Stats, dataset_stats
from .mining.calls import mine, score
from .mining.hard_negatives import MiningReport, MiningRules
from .mining.retrievers import Bm25Retriever, ModelRetriever
from .mining.teacher_scores import ScoringReport, score_candidates
from .pairs.baseline import prepare_baseline
from .pairs.pair_filters import PairFilters
from .pairs.pairs import PairRules, make_pairs
from .pairs.selection import Selection
from .pairs.store import Store
from .sources.readers import READERS
from .synonyms.synonyms import SynonymReport, SynonymRules, find_synonyms
from .terms.idf import compute_idf
from .terms.idf_diff import IdfDiff, diff_idf
from .terms.recency import Recency
from .terms.trends import TrendReport, TrendRules, find_trends
from .tokenizers.tokenizer import TokenizerReport, train_tokenizer

__all__ = [
    "Bm25Retriever",
    "IdfDiff",
    "Input",
    "MiningReport",
    "MiningRules",
    "ModelRetriever",
    "PairFilters",
    "PairRules",
    "READERS",
    "Recency",
    "ScoringReport",
    "Selection",
    "Stats",
    "Store",
    "SynonymReport",
    "SynonymRules",
    "TokenizerReport",
    "TrendReport",
    "TrendRules",
    "build_dataset",
    "build_from",
    "compute_idf",
    "dataset_stats",
    "diff_idf",
    "find_synonyms",
    "find_trends",
    "make_pairs",
    "mine",
    "prepare_baseline",
    "score",
    "score_candidates",
    "train_tokenizer",
]
