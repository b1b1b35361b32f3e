"""The query weights of somebody else's folder, made explicit for every token.

A token without a weight counts 1.0 on OpenSearch (SPARSE_TOKENIZE's default) and 0.0 in sentence-transformers. Which
of the two a folder means depends on where its weights are, so it is written out once, here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from osparse.errors import ModelError
from osparse.formula.lexicon import MAX_WEIGHT, MIN_WEIGHT, Lexicon, read_idf
from osparse.packager.checkpoint.layouts import Layout

OPENSEARCH_DEFAULT = 1.0


def read_query_weights(
    layout: Layout, given: Path | None, tokens: Sequence[str], special: Sequence[int]
) -> tuple[Lexicon, dict[str, Any]]:
    """Every token's weight, and where it is from.

    Args:
        given: an idf.json that goes before what the folder holds.
        tokens: the raw token of each id.
        special: ids of the special tokens.

    Raises:
        ModelError: no weights, weights that no query may have, or weights of another tokenizer.
    """
    if given is None and layout.static is not None and _has_tensor(layout.static):
        return _static(layout.static, tokens, special)
    path = given or layout.idf
    if path is None:
        raise ModelError(
            f"{layout.root} has no idf.json, and a query is weighed by it alone; make one with: osparse idf DATASET "
            f"--tokenizer {layout.transformer} --output idf.json, and pass `idf=idf.json`"
        )
    weights = read_idf(path)
    _refuse_large(weights, path)
    missing = [token for token in tokens if token and token not in weights]
    default = MIN_WEIGHT if layout.kind == "sentence-transformers" and given is None else OPENSEARCH_DEFAULT
    lexicon = Lexicon.build(tokens, special, {**dict.fromkeys(missing, default), **weights}, source=str(path))
    return lexicon, {"from": path.name, "missing": len(missing), "missing_count_as": default}


def _has_tensor(static: Path) -> bool:
    """Whether the library takes a tensor for the weights, which it does even beside an idf.json."""
    return (static / "model.safetensors").is_file() or not (static / "idf.json").is_file()


def _static(folder: Path, tokens: Sequence[str], special: Sequence[int]) -> tuple[Lexicon, dict[str, Any]]:
    """A SparseStaticEmbedding's weights: one per id, 0.0 for a token that must not count."""
    values = _static_weights(folder)
    if len(values) < len(tokens):
        raise ModelError(
            f"{folder}: {len(values):,} query weights for a tokenizer of {len(tokens):,} tokens; save it again"
        )
    bad = [(tokens[i], w) for i, w in enumerate(values[: len(tokens)]) if not 0 <= w < float("inf")]
    if bad:
        raise ModelError(f"{folder}: {len(bad)} query weights are negative, infinite or NaN, like {dict(bad[:3])}")
    _refuse_large({token: values[i] for i, token in enumerate(tokens) if token}, folder)
    weights: Mapping[str, float] = {t: max(float(values[i]), MIN_WEIGHT) for i, t in enumerate(tokens) if t}
    missing = sum(1 for i, token in enumerate(tokens) if token and values[i] == 0)
    lexicon = Lexicon.build(tokens, special, weights, source=str(folder))
    return lexicon, {"from": "SparseStaticEmbedding", "missing": missing, "missing_count_as": MIN_WEIGHT}


def _refuse_large(weights: Mapping[str, float], source: Path) -> None:
    large = {token: weight for token, weight in weights.items() if weight > MAX_WEIGHT}
    if large:
        raise ModelError(
            f"{source}: {len(large)} query weights are above {MAX_WEIGHT:g}, the most that OpenSearch takes, like "
            f"{dict(list(large.items())[:3])}; divide all weights by one number, which changes no order of results"
        )


def _static_weights(folder: Path) -> list[float]:
    from safetensors import SafetensorError, safe_open

    path = folder / "model.safetensors"
    if not path.is_file():
        raise ModelError(
            f"{folder} has no model.safetensors; save it again with a sentence-transformers that writes safetensors"
        )
    try:
        with safe_open(path, framework="np") as file:
            weights = file.get_tensor("weight")
    except (SafetensorError, OSError) as problem:
        raise ModelError(f"{path} cannot be read: {problem}; save the model again") from None
    return [float(w) for w in weights.reshape(-1)]
