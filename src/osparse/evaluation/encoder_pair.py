"""The document and query encoders of a model directory or a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from osparse.contracts.bundle import Bundle
from osparse.contracts.model import Model
from osparse.formula.lexicon import load_tokenizer
from osparse.formula.query_encoder import QueryEncoder


class DocumentEncoder(Protocol):
    """Both document encoders, the torch one and the ONNX one."""

    def batches(self, texts: Sequence[str], batch_size: int = 32) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Yield (positions in ``texts``, (B, V) weights)."""


class EncoderPair(NamedTuple):
    documents: DocumentEncoder
    queries: QueryEncoder


def encoder_pair(source: Model | Bundle, *, device: str = "cpu", threads: int | None = None) -> EncoderPair:
    """Open both encoders; a model's needs torch (extra ``train``), a bundle's ONNX one does not.

    Args:
        device: Where a model is run, as torch names it.
        threads: Of a bundle's ONNX session; every core this process may use if left out.

    Raises:
        ModelError: a model's weights are not whole or do not fit.
        BundleError: a bundle without ONNX or without a tokenizer part.
        MissingExtraError: torch is needed and not installed.
    """
    if isinstance(source, Bundle):
        from osparse.encoders.onnx_encoder import OnnxEncoder, open_query_encoder

        queries = open_query_encoder(source.zip_path("tokenizer"))
        return EncoderPair(OnnxEncoder.open(source, threads=threads), queries)
    from osparse.plugins.extras import require

    require("torch", "train")
    from osparse.encoders.torch_encoder import TextEncoder

    queries = QueryEncoder(load_tokenizer(source.path / "tokenizer.json"), source.lexicon)
    return EncoderPair(TextEncoder.open(source, device=device), queries)


def open_source(source: Model | Bundle | Path | str) -> Model | Bundle:
    """A model directory or a bundle; raises :class:`ModelError` for what is neither."""
    if isinstance(source, Model | Bundle):
        return source
    return Bundle.open(source) if (Path(source) / "manifest.json").is_file() else Model.open(source)
