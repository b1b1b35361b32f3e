"""A model directory or a bundle as a SparseEncoder of sentence-transformers, for its evaluators and for mteb.

Extra ``reference``. Every class of ``sentence_transformers.sparse_encoder.evaluation`` takes the encoder, and so does
``mteb.evaluate``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from osparse.contracts.bundle import Bundle
from osparse.contracts.model import Model
from osparse.evaluation.encoder_pair import encoder_pair, open_source
from osparse.plugins.extras import require

if TYPE_CHECKING:
    from sentence_transformers import SparseEncoder


def sparse_encoder(
    source: Model | Bundle | Path | str, *, quantised: bool = True, device: str = "cpu"
) -> SparseEncoder:
    """The same query and document weights as ``osparse evaluate`` ranks by; similarity is the dot product.

    ``encode_query`` looks tokens up in the IDF table, ``encode_document`` and ``encode`` run the document encoder. It
    evaluates only: it cannot be trained or saved.

        from osparse.integrations import sentence_transformers
        encoder = sentence_transformers.sparse_encoder("build/bundle")

    Args:
        source: A model directory or a bundle.
        quantised: Round document weights as the index does.
        device: Where a model is run, as torch names it; a bundle's ONNX encoder runs on the CPU.

    Raises:
        ModelError: ``source`` is no model directory and no bundle.
        BundleError: a bundle without ONNX.
        MissingExtraError: torch or sentence-transformers is not installed.
    """
    library = require("sentence_transformers", "reference")
    from osparse.integrations.sparse_module import SparseModule

    opened = open_source(source)
    module = SparseModule(*encoder_pair(opened, device=device), quantised=quantised)
    encoder: SparseEncoder = library.SparseEncoder(modules=[module], device=device, similarity_fn_name="dot")
    encoder.model_card_data.model_name = f"osparse/{opened.path.resolve().name}"  # what mteb files results under
    encoder.model_card_data.base_model_revision = opened.fingerprint
    return encoder
