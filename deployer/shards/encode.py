"""Encode documents into shards: no cluster, no torch, in as many parts as there are machines.

Part i of n encodes some of the shards. Where there are at least n input files it takes every n-th file and reads no
other; else it reads all of them and takes every n-th shard. Which shards there are, and their bytes, does not depend
on the parts nor on the worker processes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from osparse.contracts.bundle import Bundle
from osparse.contracts.shards import SHARD_ROWS, ShardInfo, ShardSet
from osparse.deployer.encode.encoders import FeatureSource, OneProcess, WorkerPool
from osparse.deployer.encode.worker import FeatureEncoder
from osparse.deployer.load.bulk import FailureLog
from osparse.deployer.shards.encode_result import EncodeResult
from osparse.deployer.shards.job import EncodeJob, Input
from osparse.deployer.shards.lookup import VectorLookup
from osparse.deployer.shards.writer import ShardWriter
from osparse.encoders.onnx_session import Device
from osparse.encoders.windows import check_window_weight, long_texts
from osparse.errors import InputError
from osparse.io.file_folders import open_folder
from osparse.io.locations import expanded
from osparse.rows.row_rules import make_rules
from osparse.runtime.processors import cores


def encode_documents(
    paths: Sequence[Path | str],
    bundle: Bundle,
    output: str | Path,
    *,
    part: tuple[int, int] = (1, 1),
    since: str | Path | None = None,
    workers: int | None = None,
    id_field: str | None = None,
    text_field: str | Sequence[str] | None = None,
    template: str | None = None,
    exclude: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    shard_rows: int = SHARD_ROWS,
    window_weight: float | None = None,
    device: Device = "cpu",
    failures: Path | None = None,
    overwrite: bool = False,
) -> EncodeResult:
    """Encode the documents with ``bundle`` into the shards of ``output``; after a kill the same call continues.

    A shard that is there and holds the same rows is left as it is. All n parts together give the files that one part
    alone gives, byte for byte, on processors for which ONNX Runtime has the same kernels.

    Args:
        paths: As :func:`osparse.deployer.index_documents` reads them.
        output: A folder, or a URL such as ``s3://bucket/prefix`` (extra ``cloud``).
        part: (i, n): encode part i of n, from 1. Every part is given the same inputs and settings.
        since: A folder or URL of shards of the same bundle: the vector of a text that they have is taken from them.
        workers: Processes that encode, each with one thread; None takes one per core.
        id_field: The name that the rows have for the id; None takes ``id`` or ``_id``.
        text_field: The name that the rows have for the text, or several fields that make it together.
        template: How the text is made of other fields; an empty index that the shards are loaded into records it.
        exclude: Fields that are not stored.
        rename: Name in the files -> name that counts.
        shard_rows: Input rows of a shard; more makes fewer and larger files.
        window_weight: Encode texts that are longer than the encoder reads in overlapping windows, those after the first
            at this weight in (0, 1]; None encodes their beginning.
        device: ``cuda`` encodes in this process on a GPU by ONNX Runtime (onnxruntime-gpu in the place of onnxruntime).
            Weights differ from a CPU's by rounding, so its shards are not byte-equal to a CPU's.
        failures: Where the rows that are no documents are listed; written only if there are any. None takes
            ``failed.jsonl``, or ``failed-<i>-of-<n>.jsonl`` where there are several parts.
        overwrite: Replace shards that hold other rows, or are of another bundle or other settings.

    Raises:
        InputError: a path that cannot be read, ``output`` holds shards of other documents, ``since`` is of another
            bundle, or ONNX Runtime cannot use the device.
        BundleError: the bundle has no onnx part.
        OsparseError: an encoder process died, or a shard cannot be written; the shards before it stay.
    """
    paths = expanded(paths)
    check_window_weight(window_weight)
    _check(paths, part, workers, shard_rows, str(output), since)
    if device != "cpu" and workers is not None:
        raise InputError(f"`workers` are processes on the CPU's cores; leave it out where `device={device}`")
    started = time.monotonic()
    result = EncodeResult(output=str(output), part=f"{part[0]}/{part[1]}")
    several = f"-{part[0]}-of-{part[1]}" if part[1] > 1 else ""
    folder, failed = open_folder(output), FailureLog(failures or Path(f"failed{several}.jsonl"))
    source = _source(bundle.zip_path("onnx"), workers, window_weight, device)
    rules = make_rules(id_field, text_field, template, exclude, rename)
    place = ShardInfo(
        bundle.name, bundle.fingerprint, bundle.vocabulary, long_texts(window_weight), shard_rows, len(paths),
        rules.template_text, file=0, number=0, last=False, rows=0, content="",
    )  # fmt: skip
    writer = ShardWriter(folder, source, overwrite)
    job = EncodeJob(place, Input(paths, part, shard_rows, rules), writer, failed, result)
    try:
        if since is None:
            job.run()
        else:
            shards = ShardSet.open(open_folder(since), complete=False)
            shards.check_bundle(bundle.name, bundle.fingerprint, "is to encode")
            shards.check_long_texts(place.long_texts, "this encoding")
            with VectorLookup(shards) as writer.lookup:
                job.run()
    finally:
        source.close()
        failed.close()
    result.failed, result.first_failures = failed.count, failed.first
    result.failures = str(failed.path) if failed.count else None
    result.seconds = time.monotonic() - started
    return result


def _source(archive: Path, workers: int | None, window_weight: float | None, device: Device) -> FeatureSource:
    if device == "cpu":
        return WorkerPool(archive, "packed", workers or cores(), window_weight=window_weight)
    return OneProcess(FeatureEncoder(archive, "packed", window_weight=window_weight, device=device))


def _check(
    paths: Sequence[Path], part: tuple[int, int], workers: int | None, shard_rows: int, output: str, since: object
) -> None:
    if not paths:
        raise InputError("there is nothing to do: give documents to encode")
    if not 1 <= part[0] <= part[1]:
        raise InputError(f"`part` must be i/n with 1 <= i <= n, got {part[0]}/{part[1]}")
    if workers is not None and workers < 1:
        raise InputError(f"`workers` must be at least 1, got {workers}")
    if shard_rows < 1:
        raise InputError(f"`shard_rows` must be at least 1, got {shard_rows}")
    if since is not None and str(since).rstrip("/") == output.rstrip("/"):
        raise InputError("`since` and `output` are the same; shards that are replaced cannot be read meanwhile")
