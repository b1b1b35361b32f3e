"""The ceilings of a sparse_vector field (SEISMIC): weights above them are clipped."""

from __future__ import annotations

from osparse.contracts.bundle import Bundle
from osparse.encoders.onnx_encoder import open_query_encoder
from osparse.formula.lexicon import MAX_WEIGHT
from osparse.formula.seismic_ceiling import MARGINS, up_to_tenth


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
