"""Strike each call of a run with each kind of fault, run again without, and compare what is there with a clean run's.

Kinds: dropped before sending, done but the answer lost, answered 429, 500 or 503, garbage, slow; and the process killed
(SIGKILL) before and after each call.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import warm_processes
from fault_proxy import Trouble, fault_proxy
from fault_work import Work
from mlcommons_server import MLCommonsServer

from osparse.deployer import Cluster

TROUBLES = {
    "dropped before sending": Trouble("drop"),
    "done, answer lost": Trouble("lose"),
    "answered 429": Trouble("status", 429, retry_after="0"),
    "answered 500": Trouble("status", 500),
    "answered 503": Trouble("status", 503),
    "answered garbage": Trouble("garbage"),
    "answered late": Trouble("slow", seconds=0.05),
}
KILLS = ("kill -9 before the call", "kill -9 after the call")
KINDS = (*TROUBLES, *KILLS)
_VOLATILE = {"uuid", "creation_date", "provided_name", "version", "history_uuid"}


class Ground(Protocol):
    """A server the trials are run on."""

    @property
    def url(self) -> str:
        """Where it is reached."""

    def reset(self) -> None:
        """Empty, or as it was before the run that is struck."""

    def state(self) -> dict[str, Any]:
        """Everything a run leaves; equal states, same result."""


@dataclass(frozen=True)
class Trial:
    """One fault, and what became of it."""

    kind: str
    call: str
    number: int
    said: str
    """What the struck run ended with: "" if it went well all the same, "killed" if it was."""
    differences: list[str]
    """Between what the next run left and what a clean one leaves; none if it converged."""

    @property
    def converged(self) -> bool:
        return not self.differences


@dataclass
class Trials:
    """Every trial of one piece of work on one ground."""

    ground: Ground
    work: Work
    before: Sequence[Work] = ()
    """Done, unhurt, before each trial."""
    calls: list[str] = field(default_factory=list)
    wanted: dict[str, Any] = field(default_factory=dict)

    def prepare(self) -> None:
        """The clean run: which calls it makes and what it leaves."""
        self._start()
        with fault_proxy(self.ground.url) as proxy:
            said = self.work.run(proxy.url)
        if said:
            raise RuntimeError(f"the run without faults failed: {said}")
        self.calls, self.wanted = list(proxy.calls), self.ground.state()

    def run(self, kinds: Sequence[str] = KINDS, every: int = 1) -> Iterator[Trial]:
        """Strike every ``every``-th call, another part of them with each kind."""
        for shift, kind in enumerate(kinds):
            for number in range(1 + shift % every, len(self.calls) + 1, every):
                trial = self._one(kind, number)
                if trial is not None:
                    yield trial

    def _one(self, kind: str, number: int) -> Trial | None:
        """None if the run ended before call ``number`` came: the polls of a run vary."""
        self._start()
        with fault_proxy(self.ground.url) as proxy:
            said = self._kill(proxy.url, kind, number, proxy) if kind in KILLS else self._strike(kind, number, proxy)
        if not proxy.struck:
            return None
        rerun = self.work.run(self.ground.url)
        found = self.ground.state()
        differences = [f"the second run failed: {rerun}"] if rerun else _differences(self.wanted, found)
        return Trial(kind, proxy.calls[number - 1], number, said, differences)

    def _strike(self, kind: str, number: int, proxy: Any) -> str:
        proxy.plan = lambda n, call: TROUBLES[kind] if n == number else None
        return self.work.run(proxy.url)

    def _kill(self, url: str, kind: str, number: int, proxy: Any) -> str:
        process = warm_processes.context().Process(target=self.work.run, args=(url,))

        def end() -> None:
            os.kill(process.pid or 0, signal.SIGKILL)

        trouble = Trouble("drop" if kind == KILLS[0] else "lose", then=end)
        proxy.plan = lambda n, call: trouble if n == number else None
        process.start()
        process.join()
        return "killed" if process.exitcode == -signal.SIGKILL else f"exit code {process.exitcode}"

    def _start(self) -> None:
        self.ground.reset()
        for work in self.before:
            said = work.run(self.ground.url)
            if said:
                raise RuntimeError(f"what comes before failed: {said}")


@dataclass
class EmulatorGround:
    """The server that answers as ML Commons does."""

    server: MLCommonsServer

    @property
    def url(self) -> str:
        return self.server.url

    def reset(self) -> None:
        with self.server.lock:
            for store in ("groups", "models", "chunks", "tasks", "runtimes", "ingest", "pipelines", "indices"):
                getattr(self.server, store).clear()
            self.server.calls.clear()
            self.server.headers_seen.clear()

    def state(self) -> dict[str, Any]:
        documents = {name: _digests(index.documents) for name, index in self.server.indices.items()}
        return {**self.server.state(), "documents": documents}


@dataclass
class NodeGround:
    """A real OpenSearch without plugins; every index of it goes at each reset."""

    url: str

    def reset(self) -> None:
        cluster = Cluster(self.url)
        for name in self._indices(cluster):
            cluster.request("DELETE", f"/{name}")

    def state(self) -> dict[str, Any]:
        cluster = Cluster(self.url)
        cluster.request("POST", "/_refresh")
        found: dict[str, Any] = {}
        for name, body in self._indices(cluster).items():
            settings = {k: v for k, v in body["settings"]["index"].items() if k not in _VOLATILE}
            answer = cluster.request("POST", f"/{name}/_search", body={"size": 10_000}).body
            documents = {hit["_id"]: hit["_source"] for hit in answer["hits"]["hits"]}
            found[name] = {"aliases": body["aliases"], "mappings": body["mappings"], "settings": settings}
            found[name]["documents"] = _digests(documents)
        return found

    def _indices(self, cluster: Cluster) -> dict[str, Any]:
        return dict(cluster.request("GET", "/_all", params={"expand_wildcards": "open,hidden"}).body)


def _digests(documents: dict[str, Any]) -> dict[str, str]:
    return {i: hashlib.sha256(json.dumps(s, sort_keys=True).encode()).hexdigest() for i, s in documents.items()}


def _differences(wanted: Any, found: Any, where: str = "") -> list[str]:
    if isinstance(wanted, dict) and isinstance(found, dict):
        keys = sorted({*wanted, *found}, key=str)
        return [line for key in keys for line in _differences(wanted.get(key), found.get(key), f"{where}/{key}")]
    return [] if wanted == found else [f"{where}: {str(found)[:300]}, not {str(wanted)[:300]}"]
