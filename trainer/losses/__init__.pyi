from .contrastive import idf_scores, info_nce, negative_pool
from .distillation import kl_distillation, margin_mse, normalised_teachers, ranknet
from .regularisation import df_activation, flops, idf_penalty, quadratic_warmup

__all__ = [
    "df_activation",
    "flops",
    "idf_penalty",
    "idf_scores",
    "info_nce",
    "kl_distillation",
    "margin_mse",
    "negative_pool",
    "normalised_teachers",
    "quadratic_warmup",
    "ranknet",
]
