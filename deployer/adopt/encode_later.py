"""Encode what other programs wrote to an index in mode client, where nothing but osparse makes vectors.

Programs that wrote to the index that was adopted go on writing to the new one, without vectors. Their documents are
found by sequence number, and by a hash that is not that of the content; each is written again with its vector, unless
it was changed or deleted meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from osparse.contracts.deployment import Deployment, generated_fields
from osparse.deployer.adopt.changes import BySequence
from osparse.deployer.adopt.follow import stored_row
from osparse.deployer.adopt.record import adoption_record, write_record
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.fields.sparse_fields import has_text
from osparse.deployer.index.copy import StoredRow
from osparse.deployer.load.bulk import Line, Version, send_bulk
from osparse.deployer.load.documents import HASH_FIELD
from osparse.deployer.load.encode_here import choose_encoding
from osparse.deployer.load.prepare import prepare_load
from osparse.deployer.load.vectors import Vectors
from osparse.deployer.plan import Finding, Made
from osparse.errors import ClusterError
from osparse.io.progress import progress
from osparse.rows.text_template import TextTemplate

log = logging.getLogger("osparse.deployer.adopt.encode_later")

PASSES = 5
"""At most: what is written during one is encoded by the next."""


@dataclass(frozen=True)
class EncodedLater:
    """Step: the documents that other programs wrote since the last run have their vectors."""

    api: ClusterApi
    new: str
    deployment: Deployment
    takes = ()

    @property
    def _changes(self) -> BySequence:
        return BySequence(self.api, self.new, tuple(generated_fields(self.deployment)))

    def inspect(self, made: Made) -> Finding:
        what = f"vectors of {self.new}"
        record = adoption_record(self.api, self.new)
        if record is None or not record.served or self._changes.now() == record.position:
            return Finding("keep", what, "nothing was written since the last run")
        return Finding("change", what, "it was written to: documents without the vector of their text are encoded")

    def apply(self, made: Made) -> Made:
        encoded = 0
        for _ in range(PASSES):
            documents = self._pass()
            encoded += documents
            if not documents:
                break
        return Made(notes=(f"{encoded:,} documents that other programs wrote were encoded",) if encoded else ())

    def _pass(self) -> int:
        """Encode what was written since the recorded position; how many documents that were."""
        record = adoption_record(self.api, self.new)
        if record is None:
            return 0
        changes, encoded = self._changes, 0
        upto = changes.now()
        self.api.refresh(self.new)
        total = changes.at_most(record.position, upto)
        encoding = choose_encoding(self.api, self.new, self.deployment, total, "here", None)
        load = prepare_load(self.api, self.new, self.deployment, total, encoding=encoding)
        if load.vectors is None:
            raise ClusterError(f"{self.new} has no stored encoder; run osparse deploy again")
        with closing(load.vectors) as vectors, progress(f"encode in {self.new}", total, "documents") as bar:
            for hits, _ in changes.pages(record.position, upto):
                encoded += self._encode(vectors, hits)
                bar.advance(len(hits))
        write_record(self.api, self.new, replace(record, position=upto))
        return encoded

    def _encode(self, vectors: Vectors, hits: list[dict[str, Any]]) -> int:
        rows = [*self._unlike(hits)]
        filled = [row for row, _ in rows if has_text(self.deployment, row.fields)]
        members = vectors.members(filled).by_id
        lines = [
            Line(row.id, {**row.fields, HASH_FIELD: row.hash}, member=members.get(row.id, b""), version=version)
            for row, version in rows
        ]
        refused = send_bulk(self.api, self.new, lines) if lines else []
        wrong = [failure for failure in refused if not failure.is_conflict]  # changed meanwhile: the next pass has it
        if wrong:
            raise ClusterError(f"{len(wrong)} documents of {self.new} were refused, {wrong[0].id}: {wrong[0].reason}")
        return len(lines) - len(refused)

    def _unlike(self, hits: list[dict[str, Any]]) -> Iterator[tuple[StoredRow, Version]]:
        """Documents whose content is not that of their hash."""
        made = self.deployment.text_template
        template = TextTemplate.parse(made) if made is not None else None
        for hit in hits:
            source: Mapping[str, Any] = hit["_source"]
            content = {name: value for name, value in source.items() if name != HASH_FIELD}
            row = stored_row({**hit, "_source": content}, template, self.deployment)
            if not isinstance(row, StoredRow):
                log.warning("document %s of %s is not encoded: %s", row.id, self.new, getattr(row, "reason", ""))
            elif not row.is_content_of(source.get(HASH_FIELD)):
                yield row, Version(int(hit["_seq_no"]), int(hit["_primary_term"]))
