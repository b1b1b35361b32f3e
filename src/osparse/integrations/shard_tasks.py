"""Shards as rows of Arrow tables: what Ray and Spark hand from the workers that read to those that encode.

A task is the documents of one shard, not yet encoded; a result is what became of it. The shards that are written are
those of ``osparse encode`` for the same input files, byte for byte, whichever worker has which task and however often.
Needs pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.shards import ShardInfo
from osparse.deployer.encode.encoders import OneProcess
from osparse.deployer.encode.worker import FeatureEncoder
from osparse.deployer.load.documents import Row, documents_of_file
from osparse.deployer.shards.job import batches, usable_rows
from osparse.deployer.shards.table import document_columns, documents_table
from osparse.deployer.shards.writer import ShardWriter
from osparse.encoders.onnx_session import Device
from osparse.encoders.windows import check_window_weight, long_texts
from osparse.errors import InputError
from osparse.io.file_folders import open_folder
from osparse.io.locations import RemotePath, expanded
from osparse.rows.row_rules import RowRules

if TYPE_CHECKING:
    import pyarrow as pa

Kind = str | list[Any] | dict[str, Any]
"""The type of a column: a word of SQL, the elements of a list, or the fields of an object."""
_DOCUMENT = {
    "id": "string", "operation": "string", "hash": "string", "text": "string", "fields": "string", "typed": "boolean",
    "cleared": ["string"],
}  # fmt: skip
_FAILURES = [{"id": "string", "reason": "string"}]
TASK_COLUMNS: dict[str, Kind] = {
    "file": "bigint", "number": "bigint", "last": "boolean", "files": "bigint", "shard_rows": "bigint",
    "text_template": "string", "documents": [_DOCUMENT], "failures": _FAILURES,
}  # fmt: skip
"""The place of a shard, its documents, and the rows that are no documents."""
RESULT_COLUMNS: dict[str, Kind] = {
    "shard": "string", "shards": "bigint", "unchanged": "bigint", "documents": "bigint", "encoded": "bigint",
    "cut": "bigint", "failures": _FAILURES,
}  # fmt: skip
"""A shard's name; 1 where it was written, or where it was there; what was counted; the rows that are no documents."""


@dataclass(frozen=True)
class ShardInput:
    """The input files and how rows become documents; the same for every worker."""

    paths: tuple[str, ...]
    shard_rows: int
    rules: RowRules

    @classmethod
    def of(cls, paths: Iterable[str | Path], shard_rows: int, rules: RowRules) -> ShardInput:
        """Patterns are resolved where this is called; raises :class:`InputError` for one that nothing fits."""
        if shard_rows < 1:
            raise InputError(f"`shard_rows` must be at least 1, got {shard_rows}")
        files = expanded([*paths])
        if not files:
            raise InputError("there is nothing to do: give documents to encode")
        return cls(tuple(path.url if isinstance(path, RemotePath) else str(path) for path in files), shard_rows, rules)

    def tasks_of_file(self, file: int) -> Iterator[pa.RecordBatch]:
        """The tasks of one input file, by its number; two shards of rows are in memory."""
        (path,) = expanded([self.paths[file]])
        return tasks(documents_of_file(path, self.rules), file, len(self.paths), self.shard_rows, self.rules)


def tasks(rows: Iterator[Row], file: int, files: int, shard_rows: int, rules: RowRules) -> Iterator[pa.RecordBatch]:
    """One record batch with one task for each shard of the rows."""
    for number, (some, last) in enumerate(batches(rows, shard_rows)):
        usable, failures = usable_rows(some)
        task = {"file": file, "number": number, "last": last, "files": files, "shard_rows": shard_rows,
                "text_template": rules.template_text, "documents": documents_table(usable).to_dicts(),
                "failures": [asdict(failure) for failure in failures]}  # fmt: skip
        yield _batch([task], TASK_COLUMNS)


@dataclass(frozen=True)
class EncoderOf:
    """What a worker must know of a bundle beside its encoder.onnx.zip, and how it encodes."""

    bundle: str
    fingerprint: str
    vocabulary: int
    window_weight: float | None = None
    device: Device = "cpu"

    @classmethod
    def bundle_encoder(cls, bundle: Bundle, window_weight: float | None, device: Device = "cpu") -> EncoderOf:
        """Raises :class:`InputError` for a weight that is not in (0, 1]."""
        check_window_weight(window_weight)
        return cls(bundle.name, bundle.fingerprint, bundle.vocabulary, window_weight, device)

    def place(self, task: Mapping[str, Any]) -> ShardInfo:
        """All that is known of a shard before its documents are looked at."""
        names = ("file", "number", "last", "files", "shard_rows", "text_template")
        own = (self.bundle, self.fingerprint, self.vocabulary, long_texts(self.window_weight))
        return ShardInfo(*own, **{name: task[name] for name in names}, rows=0, content="")


@lru_cache(1)
def open_encoder(archive: str, encoder: EncoderOf) -> OneProcess:
    """The encoder of this process: workers are used for one task after the other."""
    return OneProcess(
        FeatureEncoder(Path(archive), "packed", window_weight=encoder.window_weight, device=encoder.device)
    )


class TaskEncoder:
    """Encodes tasks and writes their shards into one folder; a shard that is there with its documents stays."""

    def __init__(self, archive: Path | str, encoder: EncoderOf, output: str, overwrite: bool) -> None:
        self._encoder = encoder
        self._writer = ShardWriter(open_folder(output), open_encoder(str(archive), encoder), overwrite)

    def __call__(self, table: pa.Table | pa.RecordBatch) -> pa.RecordBatch:
        """Tasks -> their results; raises as :func:`osparse.deployer.encode_documents`."""
        return _batch([self._result(row) for part in _one_by_one(table) for row in part.to_pylist()], RESULT_COLUMNS)

    def _result(self, task: Mapping[str, Any]) -> dict[str, Any]:
        import polars as pl

        place = self._encoder.place(task)
        self._writer.check_settings(place)
        documents = pl.DataFrame(task["documents"], schema=document_columns())
        counts = asdict(self._writer.write(place, documents))
        return {"shard": place.name, **counts, "failures": task["failures"]}


def _one_by_one(table: pa.Table | pa.RecordBatch) -> Iterator[pa.Table | pa.RecordBatch]:
    """A row at a time, so that the documents of one shard alone are Python objects."""
    return (table.slice(row, 1) for row in range(table.num_rows))


def sql(columns: Mapping[str, Kind]) -> str:
    """The columns as a schema of Spark."""
    return ", ".join(f"{name} {_sql(kind)}" for name, kind in columns.items())


def _sql(kind: Kind) -> str:
    if isinstance(kind, list):
        return f"array<{_sql(kind[0])}>"
    return kind if isinstance(kind, str) else f"struct<{', '.join(f'{name} {_sql(k)}' for name, k in kind.items())}>"


def _arrow(kind: Kind) -> pa.DataType:
    import pyarrow as pa

    if isinstance(kind, list):
        return pa.list_(_arrow(kind[0]))
    if isinstance(kind, dict):
        return pa.struct([(name, _arrow(k)) for name, k in kind.items()])
    return {"string": pa.string(), "bigint": pa.int64(), "boolean": pa.bool_()}[kind]


def _batch(rows: list[dict[str, Any]], columns: Mapping[str, Kind]) -> pa.RecordBatch:
    import pyarrow as pa

    schema = pa.schema([(name, _arrow(kind)) for name, kind in columns.items()])
    return pa.RecordBatch.from_pylist(rows, schema=schema)
