"""Fit: numbers that say whether a bundle suits a corpus and a cluster, before anything is indexed.

    fit = measure(bundle, Dataset.open("build/dataset"))
    fit.ceilings["ingest"]     # what a SEISMIC index should be given as quantization_ceiling_ingest

Without a dataset they are taken from the bundle's own probes, which are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from osparse.opensearch_versions import SEISMIC_IDS


@dataclass(frozen=True)
class Fit:
    """What was measured; shares are in [0, 1]."""

    measured_on: dict[str, Any]
    """``texts``: probes or dataset; how many were read and encoded; the dataset's fingerprint.

    Of a dataset without queries the beginnings of documents are its queries.
    """
    truncated_share: float | None
    """Documents that the cap cuts; None for probes, which say nothing about a corpus."""
    unknown_share: dict[str, float]
    """Language -> tokens that are the unknown token."""
    vocabulary: dict[str, int | float]
    """``size``; ``past_fold``: ids from 32,768 on; ``sharing``: share of ids that SEISMIC of 3.9 folds onto another."""
    nonzeros: dict[str, float]
    """Weights per document: ``mean``, ``p99``, ``max``."""
    weights: dict[str, float]
    """Quantiles of all document weights."""
    ceilings: dict[str, float]
    """``ingest`` and ``search``: quantization ceilings that clip nothing seen; ``ingest`` has a margin above it."""
    seismic: dict[str, dict[str, float]]
    """``default`` and ``fitted`` ceilings -> shares of the document weights that are ``clipped`` and ``lost``, and
    ``error``, the 99th percentile of a score's error as a share of a query's best score on average."""
    zip_bytes: dict[str, int]
    server_memory_bytes: dict[str, int]
    """Format -> what a server needs to have it loaded, estimated."""
    index_bytes_per_million: int
    """Of a rank_features index of a million such documents, without their text, estimated."""

    def rows(self) -> list[tuple[str, str]]:
        """The table a user reads: (what, figure)."""
        cut = [] if self.truncated_share is None else [("documents cut at the cap", f"{self.truncated_share:.1%}")]
        unknown = ", ".join(f"{lang} {share:.2%}" for lang, share in self.unknown_share.items() if share)
        sizes = ", ".join(f"{part} {size / 1e6:.1f} MB" for part, size in self.zip_bytes.items())
        memory = ", ".join(f"{form} {size / 1e6:,.0f} MB" for form, size in self.server_memory_bytes.items())
        nonzeros = self.nonzeros
        default, fitted = self.seismic["default"], self.seismic["fitted"]
        return [
            ("measured on", _measured_on(self.measured_on)),
            *cut,
            ("unknown tokens", unknown or "none"),
            ("weights per document", f"mean {nonzeros['mean']:g}, p99 {nonzeros['p99']:g}, most {nonzeros['max']:g}"),
            ("document weights", ", ".join(f"{name} {value:g}" for name, value in self.weights.items())),
            ("token ids", _folding(self.vocabulary)),
            ("SEISMIC ceilings to set", f"ingest {self.ceilings['ingest']:g}, search {self.ceilings['search']:g}"),
            ("SEISMIC score error, p99", f"{fitted['error']:.1%} with them, {default['error']:.1%} with the defaults"),
            ("weights clipped by the defaults", f"{default['clipped']:.2%}"),
            ("zips", sizes),
            ("memory on the server", f"{memory} (estimated)"),
            ("index per million documents", f"{self.index_bytes_per_million / 1e9:.1f} GB (estimated, without text)"),
        ]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _measured_on(facts: Mapping[str, Any]) -> str:
    if facts["texts"] == "probes":
        return f"the bundle's {facts['read']} probe texts; give a dataset for the figures of your corpus"
    return f"{facts['read']:,} documents of the dataset, {facts['encoded']:,} of them encoded"


def _folding(vocabulary: Mapping[str, int | float]) -> str:
    size, past = vocabulary["size"], vocabulary["past_fold"]
    if not past:
        return f"{size:,}, all below {SEISMIC_IDS:,}: SEISMIC keeps them apart"
    return (
        f"{size:,}: {past:,} are {SEISMIC_IDS:,} or higher, {vocabulary['sharing']:.0%} share a slot in SEISMIC from "
        f"3.9 on, and 3.3 to 3.8 lose the shard; use rank_features, or package with --vocabulary {SEISMIC_IDS}"
    )
