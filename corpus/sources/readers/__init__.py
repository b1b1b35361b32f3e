"""Every kind of source ``osparse corpus build`` reads, one file each."""

from __future__ import annotations

from osparse.corpus.sources.readers import (
    beir,
    debian,
    gooaq,
    hf,
    jsonl,
    modu,
    msmarco,
    namuwiki,
    parquet,
    s2orc,
    squad,
    wikianswers,
    wikipedia,
)
from osparse.corpus.sources.records import Reader

_MODULES = (
    debian, wikipedia, namuwiki, modu, msmarco, s2orc, wikianswers, gooaq, squad, beir, jsonl, parquet, hf,
)  # fmt: skip
READERS: dict[str, Reader] = {module.READER.name: module.READER for module in _MODULES}
