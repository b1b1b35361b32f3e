"""What vectors and models take on a server: bytes for a weight, a document, a model. Measured; each says on what."""

from __future__ import annotations

BYTES_PER_DOCUMENT = 50
BYTES_PER_WEIGHT = 20.5
"""Of a rank_features index with its _source, one merged segment: 4,000 documents of 25 to 200 weights took 47 bytes and
17.4 to 21.6 for each weight on OpenSearch 3.8.0. Text fields come on top."""
REST_BYTES_PER_JSON_BYTE = 1.9
"""Of osparse's own mapping without vectors, whose texts have three analyzers, for each byte of the documents' JSON: 695
pages of GNOME's user documentation took 1.7 in one segment and 2.1 as loaded, on OpenSearch 3.8.0."""
SEISMIC_BYTES_PER_WEIGHT = 73.0
"""Of a sparse_vector index with its _source: 8,028 documents of at most 200 weights took 110 MB in one segment on
OpenSearch 3.4.0, 84 MB more than as rank_features."""
SEISMIC_HEAP_PER_WEIGHT = 83.0
"""Of the SEISMIC caches, which lie in the heap: 1,000 documents of 200 weights took 16.8 MB, 2,000 took 33.4 MB on
OpenSearch 3.4.0. Where segments are small they take less: those below the threshold are not cached."""
MODEL_MEMORY = {"TORCH_SCRIPT": (175_000_000, 1.4), "ONNX": (20_000_000, 1.9)}
"""``model_format`` -> bytes, and bytes for each of the zip: native code, weights, one text at work. Three models of
11 to 69 MB took 190 to 274 MB (TorchScript) and 40 to 152 MB (ONNX) at their peak in DJL 0.31.1."""


def sparse_field_bytes(weights: float, *, seismic: bool = False) -> float:
    """Bytes on disk of a document's vector of so many non-zeros, its copy in ``_source`` included."""
    return BYTES_PER_DOCUMENT + (SEISMIC_BYTES_PER_WEIGHT if seismic else BYTES_PER_WEIGHT) * weights


def model_memory(model_format: str, zip_bytes: int) -> float:
    """Bytes that a server needs to have a model loaded."""
    base, factor = MODEL_MEMORY[model_format]
    return base + factor * zip_bytes
