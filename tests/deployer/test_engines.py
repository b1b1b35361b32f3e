"""Ray and Spark write the shards of `osparse encode`, whatever they do with the tasks; each needs its extra installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from osparse.contracts.bundle import Bundle
from osparse.deployer import encode_documents
from osparse.errors import InputError
from osparse.integrations.shard_tasks import RESULT_COLUMNS, TASK_COLUMNS, EncoderOf, ShardInput, TaskEncoder, sql
from osparse.rows.row_rules import make_rules

from .test_encode_shards import ROWS, content, one_process, write

__all__ = ["one_process"]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    of_files: list[list[dict[str, Any]]] = [ROWS[:13], ROWS[13:], []]
    return [write(tmp_path / f"{number}.jsonl", rows) for number, rows in enumerate(of_files)]


@pytest.fixture
def plain(files: list[Path], small_bundle: Bundle, tmp_path: Path) -> dict[str, bytes]:
    encode_documents(files, small_bundle, tmp_path / "plain", shard_rows=5)
    return content(tmp_path / "plain")


def shard_input(files: list[Path]) -> ShardInput:
    return ShardInput.of(files, 5, make_rules())


def encoder(bundle: Bundle, output: Path, overwrite: bool = False) -> TaskEncoder:
    of_bundle = EncoderOf.bundle_encoder(bundle, None)
    return TaskEncoder(bundle.zip_path("onnx"), of_bundle, str(output), overwrite)


def test_tasks_in_any_order_and_twice_give_the_shards_of_the_command(
    files: list[Path], plain: dict[str, bytes], small_bundle: Bundle, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    given, output = shard_input(files), tmp_path / "shards"
    tasks = [task for file in range(3) for task in given.tasks_of_file(file)]
    results = [encoder(small_bundle, output)(task).to_pylist()[0] for task in [*tasks[::-1], tasks[0]]]
    assert content(output) == plain
    assert sorted(result["shard"] for result in results[:-1]) == sorted(plain)
    assert (results[-1]["shards"], results[-1]["unchanged"]) == (0, 1)
    assert [failure["id"] for result in results for failure in result["failures"]] == ["no text"]
    assert sum(result["documents"] for result in results) == len(ROWS) - 2


def test_shards_that_belong_to_something_else_are_not_replaced_unasked(
    files: list[Path], small_bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    output = tmp_path / "shards"
    encode_documents(files, small_bundle, output, shard_rows=5)
    (first, *_) = shard_input(files).tasks_of_file(0)
    with pytest.raises(InputError, match="differ in bundle"):
        encoder(other_bundle, output)(first)
    (only,) = shard_input([write(tmp_path / "0.jsonl", ROWS[:5]), *files[1:]]).tasks_of_file(0)
    with pytest.raises(InputError, match=r"shard-00000-000000.*holds other rows"):
        encoder(small_bundle, output)(only)
    encoder(small_bundle, output, overwrite=True)(only)
    assert not (output / "shard-00000-000001.parquet").exists(), "the file ends with its first shard now"
    assert (output / "shard-00001-000001.parquet").exists()


def test_a_gpu_that_is_not_there_is_an_error(small_bundle: Bundle, tmp_path: Path) -> None:
    of_bundle = EncoderOf.bundle_encoder(small_bundle, None, "cuda")
    with pytest.raises(InputError, match=r"cannot use `device=cuda`.*onnxruntime-gpu"):
        TaskEncoder(small_bundle.zip_path("onnx"), of_bundle, str(tmp_path), False)


def test_the_schema_of_spark_is_that_of_the_tables() -> None:
    assert sql(RESULT_COLUMNS).endswith("cut bigint, failures array<struct<id string, reason string>>")
    assert "cleared array<string>>>" in sql(TASK_COLUMNS)


@pytest.mark.filterwarnings("ignore")
def test_ray_writes_the_shards_of_the_command(
    files: list[Path], plain: dict[str, bytes], small_bundle: Bundle, tmp_path: Path
) -> None:
    ray = pytest.importorskip("ray")
    from osparse.integrations import ray as osparse_ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        arguments = (str(small_bundle.path), str(tmp_path / "shards"))
        done = osparse_ray.read_shards(files, shard_rows=5).map_batches(
            osparse_ray.EncodeShards, fn_constructor_args=arguments, batch_format="pyarrow", batch_size=1, concurrency=1
        )
        assert done.sum("documents") == len(ROWS) - 2
    finally:
        ray.shutdown()
    assert content(tmp_path / "shards") == plain


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    sql = pytest.importorskip("pyspark.sql")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    session = builder.config("spark.sql.session.timeZone", "Asia/Seoul").getOrCreate()
    yield session
    session.stop()
    del os.environ["PYSPARK_PYTHON"]


@pytest.mark.filterwarnings("ignore")
def test_spark_writes_the_shards_of_the_command(
    files: list[Path], plain: dict[str, bytes], small_bundle: Bundle, tmp_path: Path, spark: Any
) -> None:
    from osparse.integrations import spark as osparse_spark

    encode = osparse_spark.encode_shards(spark, small_bundle.path, str(tmp_path / "shards"))
    shards = osparse_spark.read_shards(spark, files, shard_rows=5).repartition(2)
    done = shards.mapInArrow(encode, osparse_spark.RESULT).collect()
    assert sum(row.documents for row in done) == len(ROWS) - 2
    assert content(tmp_path / "shards") == plain


@pytest.mark.filterwarnings("ignore")
def test_a_table_of_spark_gives_the_shards_of_its_partitions(small_bundle: Bundle, tmp_path: Path, spark: Any) -> None:
    from osparse.integrations import spark as osparse_spark

    values = [(f"d{n}", f"apple pear {n}", None if n % 3 else n / 7) for n in range(23)]
    table = spark.createDataFrame(values, "id string, text string, price double").selectExpr(
        "*",
        "timestamp'2026-01-02 03:04:05' as seen",
        "cast(price as decimal(9,2)) as exact",
        "map('a', price) as kinds",
    )
    encode = osparse_spark.encode_shards(spark, small_bundle.path, str(tmp_path / "shards"))
    osparse_spark.shards_of(table, partitions=3, shard_rows=5).mapInArrow(encode, osparse_spark.RESULT).collect()
    parted = table.repartition(3, "id").sortWithinPartitions("id")
    parted.write.parquet(str(tmp_path / "parquet"))
    written = sorted((tmp_path / "parquet").glob("*.parquet"))
    encode_documents(written, small_bundle, tmp_path / "plain", shard_rows=5)
    assert content(tmp_path / "shards") == content(tmp_path / "plain")
