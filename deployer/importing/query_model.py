"""Which model weighs the queries of an encoder: what the cluster's pipelines and ``semantic`` fields name beside it."""

from __future__ import annotations

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.in_use import Uses, naming, read_uses
from osparse.deployer.mlcommons.api import MLCommons
from osparse.errors import AccessError, InputError


def query_model_of(ml: MLCommons, encoder_id: str) -> tuple[str | None, str]:
    """Id of the SPARSE_TOKENIZE model, or None and the reason in words.

    An index leads from one to the other: its ingest pipeline names the encoder, its search pipeline the tokenizer. A
    ``semantic`` field names both.

    Raises:
        InputError: indices that use the encoder have different ones.
    """
    try:
        uses = read_uses(ClusterApi(ml.cluster))
    except AccessError as refused:
        return None, f"no query model was looked for: {refused}"
    tokenizers = {model.id: model.name for model in ml.all_models() if model.algorithm == "SPARSE_TOKENIZE"}
    beside = sorted(model_id for model_id in tokenizers if _meet(uses, encoder_id, model_id))
    if len(beside) > 1:
        listed = ", ".join(f"{model_id} ({tokenizers[model_id]})" for model_id in beside)
        raise InputError(
            f"indices with the encoder {encoder_id} weigh queries by {listed}; choose one with `query_model`"
        )
    if beside:
        return beside[0], ""
    return None, (
        f"no query model: no index with the encoder {encoder_id} names a SPARSE_TOKENIZE model; queries may be encoded "
        "by the encoder itself, or `query_model` names it"
    )


def _meet(uses: Uses, encoder_id: str, tokenizer_id: str) -> bool:
    """Whether an index uses both."""
    by_pipeline = _indices(uses, encoder_id, "ingest") & _indices(uses, tokenizer_id, "search")
    return bool(by_pipeline) or any({encoder_id, tokenizer_id} <= set(models) for models in uses.mapped.values())


def _indices(uses: Uses, model_id: str, kind: str) -> set[str]:
    """The indices whose settings name a pipeline of the kind that names the model."""
    named = {name for pipeline_kind, name in naming(uses.pipelines, model_id) if pipeline_kind == kind}
    return {index for index, pipelines in uses.defaults.items() if named & set(pipelines)}
