"""Encode with Ray Data: the shards of ``osparse encode``, read and written by the workers of a Ray cluster.

    from osparse.integrations import ray as osparse_ray

    shards = osparse_ray.read_shards(["s3://bucket/crawl/*.parquet"])
    done = shards.map_batches(
        osparse_ray.EncodeShards,
        fn_constructor_args=("/shared/bundle", "s3://bucket/shards"),
        batch_format="pyarrow", batch_size=1, concurrency=8,
    )
    done.sum("documents")

Extra ``ray``. Inputs, bundle and output must be reached by every worker: shared storage or an object store. A worker
that dies, or a run that is killed, leaves whole shards; the same program continues.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.shards import SHARD_ROWS
from osparse.encoders.onnx_session import Device
from osparse.integrations.shard_tasks import EncoderOf, ShardInput, TaskEncoder
from osparse.plugins.extras import require
from osparse.rows.row_rules import make_rules

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import Dataset


def read_shards(paths: Sequence[str | Path], *, shard_rows: int = SHARD_ROWS, **row_options: Any) -> Dataset:
    """The documents of the input files, a row and a block for each shard; a file is read by one worker.

    Args:
        paths: As :func:`osparse.deployer.index_documents` reads them.
        row_options: ``id_field``, ``text_field``, ``template``, ``exclude`` and ``rename`` of
            :func:`osparse.deployer.encode_documents`.

    Raises:
        InputError: no file, or wrong settings.
        MissingExtraError: Ray is not installed.
    """
    data = require("ray.data", "ray")
    given = ShardInput.of(paths, shard_rows, make_rules(**row_options))

    def read(numbers: pa.Table) -> Iterator[pa.Table]:
        import pyarrow as pa

        for file in numbers["id"].to_pylist():
            yield from (pa.Table.from_batches([batch]) for batch in given.tasks_of_file(file))

    numbers = data.range(len(given.paths), override_num_blocks=len(given.paths))
    shards: Dataset = numbers.map_batches(read, batch_format="pyarrow", batch_size=1)
    return shards.repartition(target_num_rows_per_block=1)


class EncodeShards:
    """For ``Dataset.map_batches`` on :func:`read_shards`: Arrow in, Arrow out, a worker's encoder stays loaded.

    Use ``batch_format="pyarrow"``, ``batch_size=1`` and ``concurrency``, the number of workers; each encodes with one
    thread. For each shard a row comes out: ``shard`` (its name), ``shards`` (1 where it was written), ``unchanged`` (1
    where it was there), ``documents`` and texts ``encoded`` and ``cut`` of it, and ``failures`` (id and reason of each
    row that is no document).
    """

    def __init__(
        self,
        bundle: str | Path,
        output: str,
        *,
        window_weight: float | None = None,
        overwrite: bool = False,
        device: Device = "cpu",
    ) -> None:
        """Args:
            bundle: A folder that the worker can read.
            output: A folder or URL for the shards.
            window_weight, overwrite: As those of :func:`osparse.deployer.encode_documents`.
            device: ``cuda`` encodes on the worker's GPU (``num_gpus=1``; onnxruntime-gpu is installed there). Its
                weights differ from a CPU's by rounding, so its shards are not byte-equal to a CPU's.

        Raises:
            InputError: a device that ONNX Runtime cannot use.
            BundleError: the bundle has no onnx part.
        """
        opened = Bundle.open(bundle)
        encoder = EncoderOf.bundle_encoder(opened, window_weight, device)
        self._encode = TaskEncoder(opened.zip_path("onnx"), encoder, output, overwrite)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Raises as :func:`osparse.deployer.encode_documents`."""
        import pyarrow as pa

        return pa.Table.from_batches([self._encode(table)])
