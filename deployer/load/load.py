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

from osparse.contracts.deployment import Deployment, generated_fields
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.cluster.index_settings import pipeline_drift
from osparse.deployer.cluster.inherited_settings import check_source
from osparse.deployer.fields.index_fields import IndexFields
from osparse.deployer.fields.text_rule import settled, with_template_of
from osparse.deployer.load.bulk import Failure, FailureLog, patiently
from osparse.deployer.load.bundle_store import fetch_part
from osparse.deployer.load.documents import (
    HASH_FIELD,
    Row,
    count_documents,
    count_removals,
    read_documents,
    read_removals,
)
from osparse.deployer.load.encoders import FeatureSource, cores, open_source
from osparse.deployer.load.read_deployment import read_deployment
from osparse.deployer.load.refresh import seldom_refreshed
from osparse.deployer.load.stream import Load, LoadCounts
from osparse.errors import ClusterError, InputError
from osparse.io.locations import expanded
from osparse.io.progress import progress
from osparse.io.streams import STANDARD_INPUT
from osparse.rows.row_rules import RowRules, make_rules

__all__ = ["HASH_FIELD", "IndexResult", "index_documents", "load_rows"]


BATCH = 256
"""Documents sent together where osparse encodes."""
ENCODING_BATCH = 16
"""Where the cluster encodes: queries by text wait for the model meanwhile. Measured, batches of 16 load as fast as of
256 (105 and 106 documents a second), and the slowest query took 252 ms instead of up to 10 s."""


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
    """Rows left out because a later row of the same batch has their id."""
    deleted: int = 0
    encoded: int = 0
    """Texts that osparse encoded."""
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
        if self.repeated:
            lines.append(f"  {self.repeated:,} rows have the id of a later row: the later one counts")
        if self.mapped:
            types = ", ".join(f"{name} {kind}" for name, kind in self.mapped.items())
            lines.append(f"  new fields, typed by their values: {types}")
        return "\n".join([*lines, *([f"all failures: {self.failures}"] if self.failures else [])])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


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
) -> IndexResult:
    """Load documents into the deployment ``index``; ids are kept, so a second run does no harm.

    A document whose content is already in the index (equal hash) is not encoded or sent again. What a changed document
    has beside the row's fields stays; a field that is null in the row is taken out. Of rows with the same id
    the last one stays. A blank text is stored without features, and without asking the cluster's own pipeline. What an
    alias stands for is decided at the start.

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
        batch: Documents looked up and sent together; None takes :data:`BATCH`, or :data:`ENCODING_BATCH` in mode
            ml-commons.
        workers: Processes that encode (client mode), each with one thread; None takes one per core for more than a few
            documents.
        failures: Where the documents that failed are listed with their reason; written only if there are any.
        force: Encode and send documents that are there with the same content too, in case somebody else changed their
            text or their vector since.

    Raises:
        InputError: a path that cannot be read or written; what was indexed before it stays.
        ClusterError: the index is not a deployment, the cluster failed as a whole, or it refuses a whole batch alike.
        OsparseError: an encoder process died; the message names its documents.
    """
    paths, delete = expanded(paths), expanded(delete)
    _check(paths, delete, batch, workers, failures)
    rules = make_rules(id_field, text_field, template, exclude, rename)
    documents, removals = count_documents(paths), count_removals(delete)
    total = None if documents is None or removals is None else documents + removals
    failed = FailureLog(failures)
    target = _target(ClusterApi(cluster), index, rules)
    rows = chain(read_documents(paths, target.rules, target.fields), read_removals(delete))
    return _loaded(target, index, rows, total, batch, workers, failed, force)


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
) -> IndexResult:
    """:func:`index_documents` for rows from anywhere; ``total`` is for the progress bar, None where it is not known.

    Raises:
        As :func:`index_documents`.
    """
    failed = FailureLog(failures)
    return _loaded(_target(ClusterApi(cluster), index), index, rows, total, batch, workers, failed, force)


def _loaded(
    target: _Target,
    index: str,
    rows: Iterable[Row],
    total: int | None,
    batch: int | None,
    workers: int | None,
    failed: FailureLog,
    force: bool,
) -> IndexResult:
    started = time.monotonic()
    api, concrete, deployment = target.api, target.index, target.deployment
    load = prepare_load(api, concrete, deployment, total, batch=batch, workers=workers)
    load.force, load.fields = force, target.fields
    try:
        with seldom_refreshed(api, concrete, total), progress(f"index {index}", total, "documents") as bar:
            done = load.run(rows, failed, bar)
    finally:
        failed.close()
    patiently(lambda: api.refresh(concrete))
    return replace(_result(index, done, failed, time.monotonic() - started), mapped=target.fields.mapped)


def prepare_load(
    api: ClusterApi,
    index: str,
    deployment: Deployment,
    total: int | None,
    *,
    batch: int | None = None,
    workers: int | None = None,
) -> Load:
    """A load into one concrete index, with the encoder that its deployment names and nobody else's."""

    def encoder() -> FeatureSource:
        archive = patiently(lambda: fetch_part(api, deployment, "onnx"))
        return open_source(archive, deployment.key_style, workers, total)

    uuid = patiently(lambda: api.index_uuid(index))
    if deployment.mode != "client":
        most = BATCH if deployment.mode == "remote" else ENCODING_BATCH
        return Load(api, index, deployment, None, batch or most, uuid=uuid)
    return Load(api, index, deployment, encoder, batch or BATCH, senders=(workers or cores()) + 1, uuid=uuid)


@dataclass(frozen=True)
class _Target:
    """The concrete index that is loaded, what serves there, and how rows become its documents."""

    api: ClusterApi
    index: str
    deployment: Deployment
    rules: RowRules
    fields: IndexFields


def _target(api: ClusterApi, index: str, rules: RowRules | None = None) -> _Target:
    """What is loaded; a template for the text that is new to an empty index is recorded there.

    Raises:
        ClusterError: not one deployment, its pipelines are not its deployment's (documents would be changed on their
            way, or go unencoded), or it does not keep what it is given.
        InputError: the index makes its texts in another way than the rules say.
    """
    mappings = api.get_mapping(index) or {}
    concrete = next(iter(mappings)) if len(mappings) == 1 else index
    deployment = read_deployment(api.cluster, concrete)
    drift = [one for one in pipeline_drift(api, concrete, deployment) if "search" not in one.split()[1]]
    if drift:
        raise ClusterError(
            f"documents loaded into {concrete} would not be encoded by its bundle, or not as they are given: "
            f"{'; '.join(drift)}; run osparse deploy again"
        )
    check_source(concrete, mappings[concrete], tuple(generated_fields(deployment)))
    rules = rules or RowRules()
    deployment = settled(api, concrete, deployment, rules.template)
    fields = IndexFields(api, concrete, mappings[concrete].get("mappings", {}), generated_fields(deployment))
    return _Target(api, concrete, deployment, with_template_of(deployment, rules), fields)


def _check(
    paths: Sequence[Path], delete: Sequence[Path], batch: int | None, workers: int | None, failures: Path
) -> None:
    if batch is not None and batch < 1:
        raise InputError(f"`batch` must be at least 1, got {batch}")
    if workers is not None and workers < 1:
        raise InputError(f"`workers` must be at least 1, got {workers}")
    if not paths and not delete:
        raise InputError("there is nothing to do: give documents to index, or files of ids as `delete`")
    if [*paths, *delete].count(STANDARD_INPUT) > 1:
        raise InputError("standard input (-) can be read once: give it for the documents or for the ids to delete")
    if failures.resolve() in [path.resolve() for path in (*paths, *delete)]:
        raise InputError(f"{failures} is both an input and the list of failures; pass another file as `failures`")


def _result(index: str, done: LoadCounts, failed: FailureLog, seconds: float) -> IndexResult:
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
    )
