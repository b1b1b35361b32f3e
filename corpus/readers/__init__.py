"""Every kind of source ``osparse corpus build`` reads, one file each."""

from __future__ import annotations

from osparse.corpus.readers import beir, debian, jsonl
from osparse.corpus.records import Reader

READERS: dict[str, Reader] = {module.READER.name: module.READER for module in (debian, jsonl, beir)}
