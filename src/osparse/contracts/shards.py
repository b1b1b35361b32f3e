"""Shards: documents with their vectors in Parquet files, encoded once and loaded into any index of the bundle.

A file ``shard-<file>-<number>.parquet`` holds the rows ``number * shard_rows`` to ``(number + 1) * shard_rows`` of the
input file ``<file>``, both counted from 0. Which files there are, and their bytes, follows from the input, the bundle
and the settings alone. Its columns are :data:`COLUMNS`; the key ``osparse`` of the file's metadata holds
:class:`ShardInfo` as JSON. The last shard of an input file says so, and all say how many input files there are: whether
a set is complete needs no further file.

Weights are what Lucene's feature field keeps (osparse.formula.lucene_rounding): the top 17 bits of the float32. A
rank_features field stores the same bits whether it is given the weight before or after the rounding, so its scores are
those of a load without shards. A sparse_vector field keeps 8 bits of its own scale, which the rounding (less than
2^-8 of the weight, downwards) moves by one step at most.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from osparse.errors import InputError
from osparse.io.file_folders import FileFolder, parquet_footer
from osparse.io.files import canonical_json
from osparse.io.settings import checked

if TYPE_CHECKING:
    import polars as pl

SCHEMA_VERSION = 1
METADATA_KEY = "osparse"
SHARD_ROWS = 4096
"""Input rows of a shard."""
ROW_GROUP = 1024
_NAME = re.compile(r"shard-(\d{5,})-(\d{6,})\.parquet")


def columns() -> dict[str, Any]:
    """Column -> Polars type.

    ``id``; ``operation`` ("index", or "delete": then the other columns are empty); ``hash`` of the content, as the
    index keeps it; ``text``; ``fields``: the other fields as a JSON object; ``typed``: False where all their values are
    text because the file has no types; ``cleared``: the fields that the row takes out of a stored document; ``ids``:
    vocabulary ids, ascending; ``weights``: of each id, above 0; ``cut``: whether the text was longer than the encoder
    reads.
    """
    import polars as pl

    return {
        "id": pl.String(), "operation": pl.String(), "hash": pl.String(), "text": pl.String(), "fields": pl.String(),
        "typed": pl.Boolean(), "cleared": pl.List(pl.String()), "ids": pl.List(pl.UInt32()),
        "weights": pl.List(pl.Float32()), "cut": pl.Boolean(),
    }  # fmt: skip


@dataclass(frozen=True)
class ShardInfo:
    """What a shard's metadata says."""

    bundle: str
    fingerprint: str
    """Of the bundle, 64 hex digits."""
    vocabulary: int
    long_texts: str
    """How a text that is longer than the encoder reads was encoded."""
    shard_rows: int
    """Input rows of every shard but the last of a file."""
    files: int
    """Input files of the whole set."""
    text_template: str | None
    """How the text was made of other fields; None where the rows had it."""
    file: int
    number: int
    last: bool
    """Whether no further shard of this input file follows."""
    rows: int
    """Documents and deletions in the shard."""
    content: str
    """sha256 of the rows that were encoded."""

    @property
    def name(self) -> str:
        return shard_name(self.file, self.number)

    @property
    def settings(self) -> tuple[object, ...]:
        """What all shards of a set have in common."""
        return (
            self.fingerprint, self.vocabulary, self.long_texts, self.shard_rows, self.files, self.text_template,
        )  # fmt: skip


def shard_name(file: int, number: int) -> str:
    return f"shard-{file:05d}-{number:06d}.parquet"


def shard_names(folder: FileFolder) -> list[str]:
    """The names of a folder's shards, in the order of the input."""
    return sorted(filter(_NAME.fullmatch, folder.names()), key=place_of)


def place_of(name: str) -> tuple[int, int]:
    """Input file and number of a shard's name."""
    matched = _NAME.fullmatch(name)
    if matched is None:
        raise ValueError(f"{name} is not a shard's name")
    return int(matched[1]), int(matched[2])


def write_shard(folder: FileFolder, info: ShardInfo, table: pl.DataFrame) -> None:
    """Write one shard, whole or not at all. Equal rows and equal info give equal bytes (by one version of Polars)."""
    stated = canonical_json({"schema": SCHEMA_VERSION, "kind": "shard", **asdict(info)})
    file = io.BytesIO()
    table.rechunk().write_parquet(
        file, compression="zstd", compression_level=3, statistics=False, row_group_size=ROW_GROUP,
        metadata={METADATA_KEY: stated},
    )  # fmt: skip
    folder.write(info.name, file.getvalue())


def read_info(folder: FileFolder, name: str) -> ShardInfo:
    """Read from the end of the file alone.

    Raises:
        InputError: not a whole shard, or one of another schema.
    """
    import polars as pl

    place = f"{folder.location}/{name}"
    try:
        stated = pl.read_parquet_metadata(io.BytesIO(parquet_footer(folder, name))).get(METADATA_KEY, "null")
        raw = json.loads(stated)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError) as problem:
        raise InputError(f"{place} is not a shard: {problem}; run: osparse encode") from None
    if not isinstance(raw, dict) or raw.get("kind") != "shard" or raw.get("schema") != SCHEMA_VERSION:
        raise InputError(f"{place} is not a shard of schema {SCHEMA_VERSION}; make shards with: osparse encode")
    own = {key: value for key, value in raw.items() if key not in ("schema", "kind")}
    info, problems = checked(ShardInfo, own)
    if info is None or info.name != name:
        raise InputError(f"{place} is not a shard: {'; '.join(problems) or 'its metadata has another name'}")
    return info


def read_table(folder: FileFolder, name: str, only: Sequence[str] | None = None) -> pl.DataFrame:
    """The rows of a shard; raises :class:`InputError` for a file that is damaged or lacks a column."""
    import polars as pl

    types = columns()
    try:
        table = pl.read_parquet(io.BytesIO(folder.read(name)), columns=list(only or types), hive_partitioning=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as problem:
        raise InputError(f"{folder.location}/{name} cannot be read: {problem}; encode it again") from None
    wrong = [column for column, kind in table.schema.items() if kind != types[column]]
    if wrong:
        raise InputError(f"{folder.location}/{name} is not a shard: the type of {', '.join(wrong)} is wrong")
    return table


@dataclass(frozen=True)
class ShardSet:
    """The shards of a folder, all of one bundle and one set of settings."""

    folder: FileFolder
    names: tuple[str, ...]
    first: ShardInfo
    rows: int
    """Documents and deletions of all shards."""

    @classmethod
    def open(cls, folder: FileFolder, *, complete: bool = True) -> ShardSet:
        """Read the metadata of every shard.

        Args:
            complete: Whether a missing shard is an error.

        Raises:
            InputError: there is no shard, they are of several sets, or some are missing.
        """
        names = shard_names(folder)
        if not names:
            raise InputError(f"{folder.location} holds no shards; make them with: osparse encode --output")
        infos = [read_info(folder, name) for name in names]
        other = next((info for info in infos if info.settings != infos[0].settings), None)
        if other is not None:
            raise InputError(
                f"{folder.location} holds shards of several sets: {infos[0].name} and {other.name} differ in bundle, "
                "number of input files or settings; encode into an empty folder"
            )
        missing = _missing(infos) if complete else []
        if missing:
            shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            raise InputError(
                f"{folder.location} is not complete: {shown} missing; run every part of osparse encode to its end"
            )
        return cls(folder, tuple(names), infos[0], sum(info.rows for info in infos))

    def tables(self) -> Iterator[pl.DataFrame]:
        """The rows of each shard in turn; one is in memory at a time."""
        for name in self.names:
            yield read_table(self.folder, name)

    def check_bundle(self, bundle: str, fingerprint: str, use: str) -> None:
        """Raises :class:`InputError` unless the vectors are of this bundle; ``use`` says what is done with it."""
        if self.first.fingerprint != fingerprint:
            raise InputError(
                f"the shards in {self.folder.location} were encoded with bundle {self.first.bundle} "
                f"({self.first.fingerprint[:12]}), and bundle {bundle} ({fingerprint[:12]}) {use}; encode the "
                "documents with that one (osparse encode)"
            )

    def check_long_texts(self, required: str, use: str) -> None:
        """Raises :class:`InputError` unless long texts were encoded as ``required``; ``use`` says by whom."""
        if self.first.long_texts != required:
            raise InputError(
                f"the shards in {self.folder.location} were encoded with long texts {self.first.long_texts}, and {use} "
                f"has {required}; encode the documents so (osparse encode)"
            )


def _missing(infos: Sequence[ShardInfo]) -> list[str]:
    """What a complete set would have beside these shards, described."""
    missing = []
    for file in range(infos[0].files):
        own = [info for info in infos if info.file == file]
        present = {info.number for info in own}
        most = max(present, default=-1)
        missing += [shard_name(file, number) for number in range(most) if number not in present]
        if not any(info.last for info in own):
            missing.append(f"{shard_name(file, most + 1)} and what follows it")
    return missing
