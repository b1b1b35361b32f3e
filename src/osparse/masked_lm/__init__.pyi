from .architectures import BERT, DISTILBERT, ELECTRA, MODERNBERT, ROBERTA, Architecture
from .gte import GTE
from .load import load_masked_lm

__all__ = [
    "BERT",
    "DISTILBERT",
    "ELECTRA",
    "GTE",
    "MODERNBERT",
    "ROBERTA",
    "Architecture",
    "load_masked_lm",
]
