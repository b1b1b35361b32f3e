"""Load documents into a deployed index: encode here (client mode) or let the cluster's pipeline do it, bulk, report.

Encoding and sending overlap: one thread sends while the next batch is encoded. Nothing grows with the corpus.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from osparse.deployer.artifacts import fetch_part
from osparse.deployer.bulk import Failure, FailureLog, Line, send_bulk
from osparse.deployer.cluster_api import ClusterApi
from osparse.deployer.connection import Cluster
from osparse.deployer.documents import Document, Unusable, count_documents, read_documents
from osparse.deployer.reading import read_deployment
from osparse.deployment import Deployment, feature_name
from osparse.errors import ClusterError, InputError
from osparse.progress import Bar, progress

log = logging.getLogger("osparse.deployer.index")

HASH_FIELD = "osparse_hash"
Encode = Callable[[list[str]], list[dict[str, float]]]
"""Texts -> {raw token: weight} of each."""


@dataclass(frozen=True)
class IndexResult:
    """What a load did."""

    index: str
    indexed: int
    unchanged: int
    failed: int
    seconds: float
    failures: str | None
    """Path of the file that lists every failure; None if there was none."""
    first_failures: list[Failure] = field(default_factory=list)
    repeated: int = 0
    """Rows left out because a later row of the same batch has their id."""

    def __str__(self) -> str:
        lines = [
            f"{self.index}: {self.indexed:,} documents indexed, {self.unchanged:,} unchanged, {self.failed:,} failed "
            f"in {self.seconds:.1f} s"
        ]
        lines += [f"  {failure.id}: {failure.reason}" for failure in self.first_failures]
        if self.repeated:
            lines.append(f"  {self.repeated:,} rows have the id of a later row: the later one counts")
        return "\n".join([*lines, *([f"all failures: {self.failures}"] if self.failures else [])])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def index_documents(
    cluster: Cluster,
    index: str,
    paths: Sequence[Path],
    *,
    batch: int = 256,
    failures: Path = Path("failed.jsonl"),
) -> IndexResult:
    """Load documents into the deployment ``index``; ids are kept, so a second run does no harm.

    A document whose content is already in the index (equal hash) is not encoded or sent again. Of rows with the same id
    the last one stays. A blank text is stored without features, and without asking the cluster's own pipeline.

    Args:
        paths: JSON lines, Parquet files or dataset directories with id, text and maybe title, lang, date, source.
        batch: Documents encoded and sent together.
        failures: Where the documents that failed are listed with their reason; written only if there are any.

    Raises:
        InputError: a path that cannot be read or written; what was indexed before it stays.
        ClusterError: the index is not a deployment, the cluster failed as a whole, or it refuses a whole batch alike.
    """
    started = time.monotonic()
    if batch < 1:
        raise InputError(f"the batch must hold at least 1 document, not {batch}")
    if failures.resolve() in [path.resolve() for path in paths]:
        raise InputError(f"{failures} is to be read, and to list the failures; pass another file with --failures")
    failed = FailureLog(failures)
    total = count_documents(paths)
    load = _Load(ClusterApi(cluster), index, read_deployment(cluster, index), batch, failed)
    try:
        with progress(f"index {index}", total, "documents") as bar, ThreadPoolExecutor(1) as sender:
            load.run(read_documents(paths), sender, bar)
    finally:
        failed.close()
    load.api.refresh(index)
    return IndexResult(
        index=index,
        indexed=load.indexed,
        unchanged=load.unchanged,
        failed=failed.count,
        seconds=time.monotonic() - started,
        failures=str(failures) if failed.count else None,
        first_failures=failed.first,
        repeated=load.repeated,
    )


@dataclass
class _Load:
    api: ClusterApi
    index: str
    deployment: Deployment
    batch: int
    failed: FailureLog
    indexed: int = 0
    unchanged: int = 0
    repeated: int = 0
    _encode: Encode | None = None

    def run(self, rows: Iterator[Document | Unusable], sender: ThreadPoolExecutor, bar: Bar) -> None:
        sending: Future[None] | None = None
        in_flight: set[str] = set()
        while taken := list(islice(rows, self.batch)):
            documents = self._documents(taken)
            if sending is not None and not in_flight.isdisjoint(documents):
                sending.result()  # or the hashes read next would be those from before it
            fresh = self._fresh(documents)
            lines = self._lines(fresh) if fresh else []
            if sending is not None:
                sending.result()
            sending = sender.submit(self._send, lines) if lines else None
            in_flight = {line.id for line in lines}
            bar.advance(len(taken), f"{self.failed.count} failed" if self.failed.count else None)
        if sending is not None:
            sending.result()

    def _documents(self, taken: list[Document | Unusable]) -> dict[str, Document]:
        """By id, the last of each."""
        self.failed.add([Failure(row.id, row.reason) for row in taken if isinstance(row, Unusable)])
        documents = [row for row in taken if isinstance(row, Document)]
        last = {document.id: document for document in documents}
        self.repeated += len(documents) - len(last)
        return last

    def _fresh(self, documents: dict[str, Document]) -> list[Document]:
        if not documents:
            return []
        there = self.api.stored_values(self.index, list(documents), HASH_FIELD)
        fresh = [document for document in documents.values() if there.get(document.id) != document.hash]
        self.unchanged += len(documents) - len(fresh)
        return fresh

    def _lines(self, documents: list[Document]) -> list[Line]:
        sources = [{**document.fields, HASH_FIELD: document.hash} for document in documents]
        if self.deployment.mode == "client":
            filled = [i for i, document in enumerate(documents) if document.text.strip()]
            weights = self._encoder()([documents[i].text for i in filled]) if filled else []
            for i, found in zip(filled, weights, strict=True):
                sources[i][self.deployment.field] = self._features(found)
        return [
            Line(document.id, source, ingest=self.deployment.mode == "client" or bool(document.text.strip()))
            for document, source in zip(documents, sources, strict=True)
        ]

    def _features(self, weights: dict[str, float]) -> dict[str, float]:
        return {feature_name(token, self.deployment.key_style): weight for token, weight in weights.items()}

    def _encoder(self) -> Encode:
        if self._encode is None:
            from osparse.onnx_encoder import OnnxEncoder

            self._encode = OnnxEncoder.open(fetch_part(self.api, self.deployment, "onnx")).encode
        return self._encode

    def _send(self, lines: list[Line]) -> None:
        failed = send_bulk(self.api, self.index, lines)
        self.failed.add(failed)
        self.indexed += len(lines) - len(failed)
        alike = len(failed) == len(lines) and len({failure.reason for failure in failed}) == 1
        if alike and len(lines) > max(1, self.batch // 2):  # a few may be bad rows; this many is the cluster
            raise ClusterError(
                f"{self.api.cluster.url} refuses every document of a batch of {len(lines)} with the same words "
                f"({failed[0].reason}); {self.indexed:,} were indexed before. Mend the cause (osparse status --index "
                f"{self.index}), then run the same command again"
            )
