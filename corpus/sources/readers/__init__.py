"""Every kind of source ``osparse corpus build`` reads, one file each; general file formats lie in this folder."""

from __future__ import annotations

from osparse.corpus.sources.published import (
    debian,
    gooaq,
    modu,
    msmarco,
    namuwiki,
    s2orc,
    wikianswers,
    wikipedia,
)
from osparse.corpus.sources.readers import (
    beir,
    delimited,
    hf,
    jsonl,
    parquet,
    squad,
)
from osparse.corpus.sources.records import Reader
from osparse.corpus.sources.translations import gettext, mallard, tmx, xliff

_READERS = (
    *(module.READER for module in (debian, wikipedia, namuwiki, modu, msmarco, s2orc, wikianswers, gooaq, squad, beir)),
    jsonl.READER, delimited.CSV_READER, delimited.TSV_READER, parquet.READER, hf.READER,
    mallard.READER, gettext.READER, tmx.READER, xliff.READER,
)  # fmt: skip
READERS: dict[str, Reader] = {reader.name: reader for reader in _READERS}
