"""Encode with Spark: the shards of ``osparse encode``, read and written by the workers of a Spark cluster.

    from osparse.integrations import spark as osparse_spark

    shards = osparse_spark.read_shards(spark, ["s3://bucket/crawl/*.parquet"])
    encode = osparse_spark.encode_shards(spark, "build/bundle", "s3://bucket/shards")
    done = shards.repartition(64).mapInArrow(encode, osparse_spark.RESULT)
    done.selectExpr("sum(documents)").show()

Extra ``spark``. The encoder goes to the workers by ``SparkContext.addFile``; inputs and output must be reached by
every worker: shared storage or an object store. A worker that dies, or a run that is killed, leaves whole shards; the
same program continues. Set ``spark.sql.execution.arrow.maxBytesPerBatch`` (64 MB, say): a row is a whole shard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.shards import SHARD_ROWS
from osparse.deployer.load.documents import Row, document_of
from osparse.integrations.shard_tasks import (
    RESULT_COLUMNS,
    TASK_COLUMNS,
    EncoderOf,
    ShardInput,
    TaskEncoder,
    sql,
    tasks,
)
from osparse.plugins.extras import require
from osparse.rows.read_rows import ReadRow
from osparse.rows.row_rules import RowRules, make_rules

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

RESULT = sql(RESULT_COLUMNS)
"""The schema of what :func:`encode_shards` gives."""
_TASK = sql(TASK_COLUMNS)
Mapper = Callable[[Iterator["pa.RecordBatch"]], Iterator["pa.RecordBatch"]]


def read_shards(
    spark: SparkSession, paths: Sequence[str | Path], *, shard_rows: int = SHARD_ROWS, **row_options: Any
) -> DataFrame:
    """The documents of the input files, a row for each shard; a file is read by one worker.

    Args:
        paths: As :func:`osparse.deployer.index_documents` reads them.
        row_options: ``id_field``, ``text_field``, ``template``, ``exclude`` and ``rename`` of
            :func:`osparse.deployer.encode_documents`.

    Raises:
        InputError: no file, or wrong settings.
    """
    given = ShardInput.of(paths, shard_rows, make_rules(**row_options))

    def read(numbers: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in numbers:
            for file in batch.column("id").to_pylist():
                yield from given.tasks_of_file(file)

    return spark.range(0, len(given.paths), 1, len(given.paths)).mapInArrow(read, _TASK)


def shards_of(documents: DataFrame, *, partitions: int, shard_rows: int = SHARD_ROWS, **row_options: Any) -> DataFrame:
    """The documents of a table, a row for each shard; null takes a field out, as in a Parquet file.

    The rows are divided among the partitions by id and sorted by it, so that equal tables give equal shards. They are
    those of ``osparse encode`` for one Parquet file per partition with the partition's rows (times as
    ``TIMESTAMP_MICROS``). Ids must not repeat.

    Args:
        partitions: How many; each is what an input file is to ``osparse encode``.
        row_options: As those of :func:`read_shards`.
    """
    rules = make_rules(**row_options)
    name = rules.id_field or next((name for name in ("id", "_id") if name in documents.columns), "id")
    ordered = documents.repartition(partitions, name).sortWithinPartitions(name)

    def cut(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        file = require("pyspark", "spark").TaskContext.get().partitionId()
        return tasks(_rows(batches, file, rules), file, partitions, shard_rows, rules)

    return ordered.mapInArrow(cut, _TASK)


def encode_shards(
    spark: SparkSession,
    bundle: str | Path,
    output: str,
    *,
    window_weight: float | None = None,
    overwrite: bool = False,
) -> Mapper:
    """The function for ``mapInArrow`` on :func:`read_shards` or :func:`shards_of`, with the schema :data:`RESULT`.

    A row comes out for each shard: ``shard`` (its name), ``shards`` (1 where it was written), ``unchanged`` (1 where it
    was there), ``documents`` and texts ``encoded`` and ``cut`` of it, and ``failures`` (id and reason of each row that
    is no document). Each task encodes with one thread.

    Args:
        bundle: A folder on the driver; its encoder is sent to the workers.
        output: A folder or URL for the shards.
        window_weight, overwrite: As those of :func:`osparse.deployer.encode_documents`.

    Raises:
        BundleError: the bundle has no onnx part.
    """
    opened = Bundle.open(bundle)
    encoder, archive = EncoderOf.bundle_encoder(opened, window_weight), opened.zip_path("onnx")
    spark.sparkContext.addFile(str(archive))

    def encode(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        sent = require("pyspark", "spark").SparkFiles.get(archive.name)
        return map(TaskEncoder(sent, encoder, output, overwrite), batches)

    return encode


def _rows(batches: Iterator[pa.RecordBatch], file: int, rules: RowRules) -> Iterator[Row]:
    number = 0
    for batch in batches:
        for row in _in_utc(batch).to_pylist(maps_as_pydicts="strict"):
            number += 1
            yield document_of(ReadRow(f"partition {file} row {number}", row), rules)


def _in_utc(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Times with a zone as a Parquet file has them, not in the zone of the session."""
    import pyarrow as pa

    zoned = {field.name for field in batch.schema if pa.types.is_timestamp(field.type) and field.type.tz}
    fields = [field.with_type(pa.timestamp("us", "UTC")) if field.name in zoned else field for field in batch.schema]
    return batch.cast(pa.schema(fields))
