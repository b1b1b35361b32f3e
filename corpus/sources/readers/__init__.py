"""Every kind of source ``osparse corpus build`` reads, one file each."""

from __future__ import annotations

from osparse.corpus.sources.readers import (
    beir,
    debian,
    delimited,
    gettext,
    gooaq,
    hf,
    jsonl,
    mallard,
    modu,
    msmarco,
    namuwiki,
    parquet,
    s2orc,
    squad,
    tmx,
    wikianswers,
    wikipedia,
    xliff,
)
from osparse.corpus.sources.records import Reader

_READERS = (
    *(module.READER for module in (debian, wikipedia, namuwiki, modu, msmarco, s2orc, wikianswers, gooaq, squad, beir)),
    jsonl.READER, delimited.CSV_READER, delimited.TSV_READER, parquet.READER, hf.READER,
    mallard.READER, gettext.READER, tmx.READER, xliff.READER,
)  # fmt: skip
READERS: dict[str, Reader] = {reader.name: reader for reader in _READERS}
