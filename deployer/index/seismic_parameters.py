"""The parameters of a sparse_vector field (SEISMIC) that are fixed when its index is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.encoders.onnx_encoder import open_query_encoder
from osparse.formula.lexicon import MAX_WEIGHT
from osparse.formula.seismic_ceiling import MARGINS, up_to_tenth

DEFAULT_THRESHOLD = 1_000_000
"""Documents of a segment from which on the server searches it approximately, unless the mapping says otherwise.

It is kept: of 2,000 and of 8,028 documents (OpenSearch 3.4.0) approximate search was no faster than exact search and
found .957 to .989 of its first ten hits, and its cache took 83 bytes a weight of the node's heap.
"""


DEFAULTS = {"cluster_ratio": 0.1, "summary_prune_ratio": 0.4, "threshold": DEFAULT_THRESHOLD}
"""The server's own, written out so that they are seen; that of ``n_postings`` depends on the number of documents."""
NAMES = {
    "n_postings": "n_postings",
    "cluster_ratio": "cluster_ratio",
    "summary_prune_ratio": "summary_prune_ratio",
    "ceiling_ingest": "quantization_ceiling_ingest",
    "ceiling_search": "quantization_ceiling_search",
    "threshold": "approximate_threshold",
}
"""What osparse calls a parameter -> its name in a mapping."""
KEPT = ("n_postings", "cluster_ratio", "summary_prune_ratio", "threshold")
"""Taken over by the index of the next bundle; ceilings follow from a bundle's weights."""
CHOSEN = "seismic"
"""In a bundle's ``source``: the parameters, by the names above, that its index is to have."""


def parameters_of(mappings: Mapping[str, Any], field: str) -> dict[str, float]:
    """The parameters that a mapping gives a field at its top, by osparse's names."""
    method = mappings.get("properties", {}).get(field, {}).get("method", {})
    given = method.get("parameters", {})
    return {name: given[mapped] for name, mapped in NAMES.items() if mapped in given}


def as_mapped(parameters: Mapping[str, float]) -> dict[str, float]:
    """Parameters by the names of a mapping."""
    return {NAMES[name]: value for name, value in parameters.items()}


def threshold_of(mappings: Mapping[str, Any], field: str) -> int:
    """``approximate_threshold`` of a field at the top of a mapping."""
    method = mappings.get("properties", {}).get(field, {}).get("method", {})
    return int(method.get("parameters", {}).get("approximate_threshold", DEFAULT_THRESHOLD))


def ceilings(bundle: Bundle) -> dict[str, float]:
    """SEISMIC keeps 8 bits of a weight below a ceiling and clips what is above: the bundle's own, from its weights.

    Of a bundle that does not say: the probes' largest document weight with a fifth to spare, the IDF table's largest.
    """
    said = bundle.fit.get("ceilings", {})
    if {"ingest", "search"} <= said.keys():
        return {"ceiling_ingest": float(said["ingest"]), "ceiling_search": min(float(said["search"]), MAX_WEIGHT)}
    largest = max((weight for probe in bundle.probes() for weight in probe.document.values()), default=3.0)
    lexicon = open_query_encoder(bundle.zip_path("tokenizer")).lexicon
    return {
        "ceiling_ingest": up_to_tenth(largest * MARGINS["probes"]),
        "ceiling_search": min(up_to_tenth(float(max(lexicon.idf))), MAX_WEIGHT),
    }
