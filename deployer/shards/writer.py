"""One shard at a time: left as it is where it holds the same documents, else encoded and written as a whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from osparse.contracts.shards import ShardInfo, place_of, read_info, shard_names, write_shard
from osparse.deployer.encode.encoders import FeatureSource
from osparse.deployer.encode.worker import unpacked
from osparse.deployer.load.vectors import Vector
from osparse.deployer.shards.lookup import VectorLookup
from osparse.deployer.shards.table import content_of, rows_to_encode, with_vectors
from osparse.errors import InputError
from osparse.formula.lucene_rounding import quantise
from osparse.io.file_folders import FileFolder

if TYPE_CHECKING:
    import polars as pl

_SETTINGS = ("bundle", "vocabulary", "long texts", "rows of a shard", "number of input files", "template")
"""What :attr:`ShardInfo.settings` holds, in words."""
_UNFINISHED = re.compile(r"\.(shard-\d+-\d+\.parquet)\.[0-9a-f]{12}")
"""The temporary name of a shard that a killed run was writing to a local folder."""


@dataclass
class ShardWritten:
    """What became of one shard, or of several."""

    shards: int = 0
    """Written."""
    unchanged: int = 0
    """Shards that were there with the same content."""
    documents: int = 0
    """In the shards that were written."""
    encoded: int = 0
    """Texts that were encoded."""
    reused: int = 0
    """Texts whose vector came from older shards."""
    cut: int = 0
    """Documents, in the shards that were written, whose text is longer than the encoder reads."""


@dataclass
class ShardWriter:
    """Writes shards to one folder; what the folder holds at first is listed when the writer is made."""

    folder: FileFolder
    source: FeatureSource
    """Encodes in the form ``packed``."""
    overwrite: bool = False
    lookup: VectorLookup | None = None
    """Where vectors are looked for before a text is encoded."""
    _present: frozenset[str] = field(init=False)
    _unfinished: dict[str, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        self._present = frozenset(shard_names(self.folder))
        self._unfinished = _unfinished(self.folder.names())

    def check_settings(self, own: ShardInfo) -> None:
        """Raises :class:`InputError` where the folder holds shards of another bundle or other settings."""
        if self.overwrite or not self._present:
            return
        old = read_info(self.folder, min(self._present))
        differing = [
            what for what, there, here in zip(_SETTINGS, old.settings, own.settings, strict=True) if there != here
        ]
        if differing:
            raise InputError(
                f"{self.folder.location} holds shards that differ in {', '.join(differing)} (bundle {old.bundle}, "
                f"{old.fingerprint[:12]}); choose another `output`, or pass `overwrite=True`"
            )

    def write(self, place: ShardInfo, documents: pl.DataFrame) -> ShardWritten:
        """Args: place: Says all but the rows and their content.

        Raises:
            InputError: without ``overwrite``, the shard is there with other rows, or shards beyond the last one are.
        """
        info = replace(place, rows=documents.height, content=content_of(documents))
        written = ShardWritten(unchanged=1) if self._is_there(info) else self._encoded(info, documents)
        for name in self._unfinished.get(info.name, ()):
            self.folder.delete(name)
        self._drop_surplus(info)
        return written

    def _is_there(self, info: ShardInfo) -> bool:
        if info.name not in self._present:
            return False
        same = read_info(self.folder, info.name) == info
        if not same and not self.overwrite:
            raise InputError(
                f"{self.folder.location}/{info.name} holds other rows than the input has there; choose another "
                "`output` (with `since`, what is unchanged is not encoded again), or pass `overwrite=True`"
            )
        return same

    def _encoded(self, info: ShardInfo, documents: pl.DataFrame) -> ShardWritten:
        rows = rows_to_encode(documents)
        texts, names = documents["text"].gather(rows).to_list(), documents["id"].gather(rows).to_list()
        old = self.lookup.find(texts) if self.lookup is not None else [None] * len(rows)
        vectors = {row: vector for row, vector in zip(rows, old, strict=True) if vector is not None}
        missing = [i for i, vector in enumerate(old) if vector is None]
        made = self.source.encode([names[i] for i in missing], [texts[i] for i in missing])
        for i, (packed, cut) in zip(missing, made, strict=True):
            ids, weights = unpacked(packed)
            weights = quantise(weights)
            vectors[rows[i]] = Vector(ids[weights > 0], weights[weights > 0], cut)
        write_shard(self.folder, info, with_vectors(documents, vectors))
        return ShardWritten(
            shards=1,
            documents=int((documents["operation"] == "index").sum()),
            encoded=len(missing),
            reused=len(rows) - len(missing),
            cut=sum(vector.cut for vector in vectors.values()),
        )

    def _drop_surplus(self, info: ShardInfo) -> None:
        """After the last shard of a file: those that follow it, and after the last file those of further files."""
        surplus = [name for name in self._present if info.last and _is_beyond(place_of(name), info)]
        if surplus and not self.overwrite:
            raise InputError(
                f"{self.folder.location} holds shards beyond the end of the input ({min(surplus)}); choose another "
                "`output`, or pass `overwrite=True`"
            )
        for name in surplus:
            self.folder.delete(name)


def _is_beyond(place: tuple[int, int], last: ShardInfo) -> bool:
    file, number = place
    return (file == last.file and number > last.number) or (file >= last.files and last.file == last.files - 1)


def _unfinished(files: Sequence[str]) -> dict[str, list[str]]:
    """Shard -> the temporary files of runs that were killed while they wrote it."""
    by_shard: dict[str, list[str]] = {}
    for name in files:
        if matched := _UNFINISHED.fullmatch(name):
            by_shard.setdefault(matched[1], []).append(name)
    return by_shard
