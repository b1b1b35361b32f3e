"""Load documents into a deployed index: encode here (client mode) or let the cluster's pipeline do it, bulk, report.

No state is kept on this machine: each document carries a hash of its content in the index, and one that is stored
unchanged is neither encoded nor sent. So an interrupted load is resumed by running it again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.shards import ShardSet
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.load.bulk import Failure, FailureLog, patiently
from osparse.deployer.load.documents import (
    HASH_FIELD,
    Row,
    count_documents,
    count_removals,
    read_documents,
    read_removals,
)
from osparse.deployer.load.encode_here import Where
from osparse.deployer.load.prepare import prepare_load, settle_encoding
from osparse.deployer.load.refresh import seldom_refreshed
from osparse.deployer.load.stream import LoadCounts
from osparse.deployer.load.target import Target, find_target, rules_of_shards
from osparse.deployer.load.vectors import GivenVectors, RowVectors, encoded_rows
from osparse.errors import InputError
from osparse.io.file_folders import open_folder
from osparse.io.locations import expanded
from osparse.io.progress import progress
from osparse.io.streams import STANDARD_INPUT
from osparse.rows.row_rules import RowRules, make_rules

__all__ = ["HASH_FIELD", "IndexResult", "index_documents", "load_rows"]


@dataclass(frozen=True)
class IndexResult:
    """What a load did."""

    index: str
    indexed: int
    unchanged: int
    """There already with the same content, or to be deleted and not there."""
    failed: int
    seconds: float
    failures: str | None
    """Path of the file that lists every failure; None if there was none."""
    first_failures: list[Failure] = field(default_factory=list)
    complaints: dict[str, int] = field(default_factory=dict)
    """Complaint, without the place of a row -> documents that have it; of the first few kinds."""
    repeated: int = 0
    """Rows that a later row of the same batch, which has their id, was put over."""
    deleted: int = 0
    encoded: int = 0
    """Texts that were encoded on this machine."""
    cut: int = 0
    """Documents whose text is longer than the encoder reads: their vector is of its beginning only."""
    encoder: str = ""
    """Who encoded, and why."""
    mapped: dict[str, str] = field(default_factory=dict)
    """Field -> type of the fields that were new to the index, as inferred from the rows."""

    def __str__(self) -> str:
        rate = f", {self.indexed / self.seconds:,.0f}/s" if self.indexed and self.seconds > 0 else ""
        deleted = f" {self.deleted:,} deleted," if self.deleted else ""
        lines = [
            f"{self.index}: {self.indexed:,} documents indexed,{deleted} {self.unchanged:,} unchanged, "
            f"{self.failed:,} failed in {self.seconds:.1f} s{rate}"
        ]
        lines += [f"  {failure.id}: {failure.reason}" for failure in self.first_failures]
        many = [(text, count) for text, count in self.complaints.items() if count > FailureLog.SHOWN]
        lines += [f"  {count:,} documents: {text}" for text, count in many]
        if self.cut:
            lines.append(f"  {self.cut:,} texts are longer than the encoder reads: only their beginning was encoded")
        if self.repeated:
            lines.append(f"  {self.repeated:,} rows have the id of a later row: its fields count")
        if self.mapped:
            types = ", ".join(f"{name} {kind}" for name, kind in self.mapped.items())
            lines.append(f"  new fields, typed by their values: {types}")
        return "\n".join([*lines, *([f"all failures: {self.failures}"] if self.failures else [])])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _How:
    """What the caller of a load decides beside its rows."""

    batch: int | None
    workers: int | None
    failed: FailureLog
    force: bool
    encode: Where
    bundle: Bundle | None
    given: GivenVectors | None = None
    """Vectors that the rows bring."""


def index_documents(
    cluster: Cluster,
    index: str,
    paths: Sequence[Path],
    *,
    delete: Sequence[Path] = (),
    id_field: str | None = None,
    text_field: str | Sequence[str] | None = None,
    template: str | None = None,
    exclude: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    batch: int | None = None,
    workers: int | None = None,
    failures: Path = Path("failed.jsonl"),
    force: bool = False,
    encode: Where = "auto",
    bundle: Bundle | None = None,
    encoded: Path | str | None = None,
) -> IndexResult:
    """Load documents into the deployment ``index``; ids are kept, so a second run does no harm.

    A document whose content is already in the index (equal hash) is not encoded or sent again. What a changed document
    has beside the row's fields stays; a field that is null in the row is taken out. Of rows with the same id the later
    one counts, as if it were loaded after the other. A blank text is stored without features, and without asking the
    cluster's own pipeline. What an alias stands for is decided at the start.

    Args:
        index: An alias of one deployment, or a concrete index.
        paths: Files of rows: JSON lines, a JSON array, CSV, TSV, Parquet or Arrow, plain or compressed; patterns
            (``data/*.jsonl``), addresses (``s3://``, ``gs://``, ``https://``), pipes, ``-`` for standard input, BEIR
            folders or dataset directories. A row has id, text and any other fields, all of which are stored; a row
            ``{"id": ..., "_op": "delete"}`` deletes.
        delete: Files of ids to delete, after the documents.
        id_field: The name that the rows have for the id; None takes ``id`` or ``_id``.
        text_field: The name that the rows have for the text; None takes ``text``. Several fields make the text
            together, each on a line of its own, and are stored too; the index records that.
        template: How the text is made of other fields, such as ``{title}\n{body}``; None takes what the index records.
        exclude: Fields that are not stored; ``a.b`` is the field b of the object a.
        rename: Name in the files -> name in the index; all other parameters use the new names.
        batch: Documents looked up and sent together; None takes 256, or 16 where the cluster's own model encodes.
        workers: Processes that encode (client mode), each with one thread; None takes one per core for more than a few
            documents.
        failures: Where the documents that failed are listed with their reason; written only if there are any.
        force: Encode and send documents that are there with the same content too, in case somebody else changed their
            text or their vector since.
        encode: Who encodes in modes ml-commons and remote: "cluster", its pipeline; "here", this machine, whose vectors
            are written past the pipeline; "auto" as :func:`osparse.deployer.load.encode_here.choose_encoding` says. The
            pipeline stays in place for other writers.
        bundle: The index's bundle, to encode on this machine with.
        encoded: A folder or URL of shards that ``osparse encode`` made with the index's bundle, instead of ``paths``.

    Raises:
        InputError: a path that cannot be read or written; what was indexed before it stays. Or ``encoded`` or
            ``bundle`` is not of the index's bundle; nothing was indexed then.
        CheckError: what would be written differs from what the cluster's encoder gives; nothing was indexed.
        ClusterError: the index is not a deployment, the cluster failed as a whole, or it refuses a whole batch alike.
        OsparseError: an encoder process died; the message names its documents.
    """
    paths, delete = expanded(paths), expanded(delete)
    _check(paths, delete, batch, workers, failures, encoded)
    rules = make_rules(id_field, text_field, template, exclude, rename)
    how = _How(batch, workers, FailureLog(failures), force, encode, bundle)
    shards = None if encoded is None else _shards(encoded, encode, rules)
    documents, removals = count_documents(paths) if shards is None else shards.rows, count_removals(delete)
    api = ClusterApi(cluster)
    if shards is not None:
        target = find_target(api, index, rules_of_shards(shards), shards=shards)
        rows = encoded_rows(shards, target.fields)
        how = replace(how, given=RowVectors(), encode="auto" if target.deployment.mode == "client" else "cluster")
    else:
        target = find_target(api, index, rules)
        rows = read_documents(paths, target.rules, target.fields)
    total = None if documents is None or removals is None else documents + removals
    return _loaded(target, index, chain(rows, read_removals(delete)), total, how)


def load_rows(
    cluster: Cluster,
    index: str,
    rows: Iterable[Row],
    total: int | None,
    *,
    batch: int | None = None,
    workers: int | None = None,
    failures: Path = Path("failed.jsonl"),
    force: bool = False,
    encode: Where = "auto",
    bundle: Bundle | None = None,
) -> IndexResult:
    """:func:`index_documents` for rows from anywhere; ``total`` is for the progress bar, None where it is not known.

    Raises:
        As :func:`index_documents`.
    """
    how = _How(batch, workers, FailureLog(failures), force, encode, bundle)
    return _loaded(find_target(ClusterApi(cluster), index), index, rows, total, how)


def _loaded(target: Target, index: str, rows: Iterable[Row], total: int | None, how: _How) -> IndexResult:
    started = time.monotonic()
    api, concrete, deployment, failed = target.api, target.index, target.deployment, how.failed
    encoding, rows = settle_encoding(api, concrete, deployment, rows, total, how.encode, how.bundle, how.given)
    load = prepare_load(
        api, concrete, deployment, total, batch=how.batch, workers=how.workers, encoding=encoding, given=how.given
    )
    load.force, load.fields = how.force, target.fields
    try:
        with seldom_refreshed(api, concrete, total), progress(f"index {index}", total, "documents") as bar:
            done = load.run(rows, failed, bar)
    finally:
        failed.close()
    patiently(lambda: api.refresh(concrete))
    result = _result(index, done, failed, time.monotonic() - started, str(encoding))
    return replace(result, mapped=target.fields.mapped)


def _shards(place: Path | str, encode: Where, rules: RowRules) -> ShardSet:
    """The shards at ``place``; raises :class:`InputError` for options that they have settled already."""
    if encode != "auto":
        raise InputError("`encode` and `encoded` exclude each other: the shards have the vectors; leave one out")
    named = {
        "id_field": rules.id_field,
        "text_field": rules.text_field or rules.template,
        "exclude": rules.exclude,
        "rename": rules.rename,
    }
    if given := [f"`{name}`" for name, value in named.items() if value]:
        raise InputError(
            f"{', '.join(given)} cannot be given with `encoded`: the shards hold the documents as they are to be "
            "stored; give them to osparse encode"
        )
    return ShardSet.open(open_folder(place))


def _check(
    paths: Sequence[Path],
    delete: Sequence[Path],
    batch: int | None,
    workers: int | None,
    failures: Path,
    encoded: Path | str | None,
) -> None:
    if batch is not None and batch < 1:
        raise InputError(f"`batch` must be at least 1, got {batch}")
    if workers is not None and workers < 1:
        raise InputError(f"`workers` must be at least 1, got {workers}")
    if not paths and not delete and encoded is None:
        raise InputError("there is nothing to do: give documents to index, or files of ids as `delete`")
    if paths and encoded is not None:
        raise InputError("give documents or, as `encoded`, shards that hold them with their vectors; not both")
    if [*paths, *delete].count(STANDARD_INPUT) > 1:
        raise InputError("standard input (-) can be read once: give it for the documents or for the ids to delete")
    if failures.resolve() in [path.resolve() for path in (*paths, *delete)]:
        raise InputError(f"{failures} is both an input and the list of failures; pass another file as `failures`")


def _result(index: str, done: LoadCounts, failed: FailureLog, seconds: float, encoder: str) -> IndexResult:
    return IndexResult(
        index=index,
        indexed=done.indexed,
        unchanged=done.unchanged,
        failed=failed.count,
        seconds=seconds,
        failures=str(failed.path) if failed.count else None,
        first_failures=failed.first,
        complaints=dict(failed.complaints),
        repeated=done.repeated,
        deleted=done.deleted,
        encoded=done.encoded,
        cut=done.cut,
        encoder=encoder,
    )
