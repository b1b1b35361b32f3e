from .losses import (
    df_activation,
    flops,
    idf_penalty,
    idf_scores,
    info_nce,
    kl_distillation,
    margin_mse,
    negative_pool,
    normalised_teachers,
    ranknet,
)

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
    "ranknet",
]
