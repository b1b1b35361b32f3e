"""What a fault strikes, in this process or in one that can be killed: a deploy with a small load, or an undeploy."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from osparse.contracts.bundle import Bundle
from osparse.deployer import Cluster, deploy, index_documents, undeploy
from osparse.deployer.load import bulk, bundle_store
from osparse.deployer.mlcommons import model_steps, tasks
from osparse.deployer.operate import removal
from osparse.errors import OsparseError

CHUNK = 250_000
"""Bytes: the bundle of the trials is small and is to be sent in several chunks all the same."""


@dataclass(frozen=True)
class Work:
    """One run of ``osparse deploy`` and ``osparse index``."""

    bundle: Path
    documents: Path
    name: str = "products"

    def run(self, url: str) -> str:
        """Do it against ``url`` with little patience; returns the error it ended with, or "" if it went well."""
        hurry()
        cache = self.documents.with_name("cache")
        os.environ["XDG_CACHE_HOME"] = str(cache)
        shutil.rmtree(cache, ignore_errors=True)  # as on a machine that never saw this bundle
        cluster = Cluster(url, retries=2, backoff=0.01)
        try:
            deploy(Bundle.open(self.bundle), cluster, self.name)
            failures = self.documents.with_name(f"failed-{os.getpid()}.jsonl")
            load = index_documents(cluster, self.name, [self.documents], batch=8, failures=failures)
        except OsparseError as problem:
            return str(problem)
        return f"{load.failed} documents failed" if load.failed else ""


@dataclass(frozen=True)
class Undeploy(Work):
    """One run of ``osparse undeploy --keep 0`` after an upgrade."""

    def run(self, url: str) -> str:
        """Do it against ``url``; returns the error it ended with or what it left, "" if it went well."""
        hurry()
        try:
            return "; ".join(undeploy(Cluster(url, retries=2, backoff=0.01), self.name, keep=0).left)
        except OsparseError as problem:
            return str(problem)


def hurry() -> None:
    """Short waits, several chunks, quiet logs."""
    tasks.FIRST_WAIT, bundle_store.CHUNK = 0.005, CHUNK
    model_steps.CHUNK = CHUNK  # type: ignore[attr-defined]
    bulk.BACKOFF, bulk.TRIES = 0.01, 3
    removal.WAITS = (0.0, 0.01, 0.01, 0.01, 0.01)
    logging.getLogger("opensearch").setLevel(logging.CRITICAL)
