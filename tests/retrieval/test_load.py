"""Load tests against real HTTP servers whose service times are known, so that the percentiles are closed forms."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from local_http import QuietHandler, serving
from numpy.typing import NDArray

from osparse.cli.main import main
from osparse.deployer.cluster.client import Cluster
from osparse.errors import ClusterError, InputError
from osparse.retrieval.loadtest import open_loop
from osparse.retrieval.loadtest.arrivals import arrivals
from osparse.retrieval.loadtest.load_report import LoadReport, Measured
from osparse.retrieval.loadtest.load_test import check_allowed, is_loopback
from osparse.retrieval.loadtest.open_loop import Samples, Sender, send_open_loop
from osparse.retrieval.loadtest.systems import check_answer
from osparse.retrieval.loadtest.throughput import rates_within, within

HITS = {"hits": {"hits": []}, "timed_out": False, "_shards": {"total": 1, "successful": 1, "failed": 0}}


@contextmanager
def slow_server(delay: float, stalled: int = -1, stall: float = 0.0, failing: int = 0) -> Iterator[Cluster]:
    """Answers one request at a time after ``delay`` seconds, request ``stalled`` after ``stall`` more.

    The first ``failing`` requests are refused with 429.
    """
    turn, seen = threading.Lock(), [0]

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            with turn:
                number, seen[0] = seen[0], seen[0] + 1
                time.sleep(delay + (stall if number == stalled else 0.0))
            data = json.dumps({"error": {"reason": "full"}} if number < failing else HITS).encode()
            self.send_response(429 if number < failing else 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with serving(Handler) as url, Cluster(url) as cluster:
        yield cluster


def clients_of(cluster: Cluster, number: int) -> list[Sender]:
    def sender() -> Sender:
        client = cluster.single_client()
        return lambda _: check_answer("i", client.request("POST", "/i/_search", body={}).body)

    return [sender() for _ in range(number)]


class VirtualTime:
    """A clock that only moves when somebody waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("time.perf_counter", lambda: self.now)
        monkeypatch.setattr(threading.Event, "wait", lambda event, seconds: self.sleep(seconds))
        monkeypatch.setattr(open_loop, "ThreadPoolExecutor", OneAfterAnother)

    def sleep(self, seconds: float) -> bool:
        self.now += seconds
        return False


class OneAfterAnother:
    """Runs what is submitted at once: one client needs no thread."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __enter__(self) -> OneAfterAnother:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, work: Callable[..., None], *arguments: object) -> Future[None]:
        done = Future[None]()
        work(*arguments)
        done.set_result(None)
        return done


def lindley(services: NDArray[np.float64], gap: float) -> list[float]:
    """Response times in ms of one server: W(i+1) = max(0, W(i) + d(i) - g) (Lindley, 1952)."""
    waits = [0.0]
    for service in services[:-1]:
        waits.append(max(0.0, waits[-1] + service - gap))
    return [1000 * (wait + service) for wait, service in zip(waits, services, strict=True)]


@pytest.mark.parametrize(("service", "stall"), [(0.005, 0.0), (0.020, 0.0), (0.002, 0.300)])
def test_one_client_waits_as_lindley_says(service: float, stall: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the server's capacity, above it, and with one stall: each response time, to the microsecond."""
    services = np.full(200, service)
    services[50] += stall
    clock = VirtualTime(monkeypatch)
    samples = send_open_loop(
        [lambda number: clock.sleep(services[number])], np.arange(200, dtype=np.float64) * 0.010, give_up=60
    )
    assert samples.response == pytest.approx(lindley(services, 0.010), abs=1e-3)
    assert samples.service == pytest.approx(services * 1000, abs=1e-3)
    assert samples.percentile(99) == pytest.approx(np.percentile(lindley(services, 0.010), 99))


@pytest.mark.parametrize("clients", [1, 4])
def test_a_queue_at_a_real_server_grows(clients: int) -> None:
    """Service d = 20 ms, a request each g = 10 ms: request i waits i (d - g) or more, on average over any order of them.

    One client that counts from sending sees none of that.
    """
    with slow_server(0.020) as cluster:
        samples = send_open_loop(clients_of(cluster, clients), np.arange(25, dtype=np.float64) * 0.010, give_up=30)
    assert samples.requests == 25 and not samples.failed and not len(samples.waiting)
    assert samples.response.mean() >= (20 + np.arange(25) * 10).mean() - 1
    assert samples.service.min() >= 19
    p50, service = samples.percentile(50), samples.service_percentile(50)
    assert p50 is not None and service is not None
    assert clients > 1 or service < 0.5 * p50


def test_a_stall_delays_every_request_that_fell_due_during_it() -> None:
    """A stall of s = 0.3 s at 200 requests a second: 60 fall due during it, half of which wait longer than s / 2."""
    with slow_server(0.0, stalled=20, stall=0.3) as cluster:
        samples = send_open_loop(clients_of(cluster, 1), np.arange(200, dtype=np.float64) / 200, give_up=5)
    assert len(samples.response) == 200
    assert (samples.response > 150).sum() >= 28
    assert (samples.service > 150).sum() < 10, "counted from sending, the stall is one slow request"
    p90, service = samples.percentile(90), samples.service_percentile(90)
    assert p90 is not None and service is not None and p90 > 100 > service


def test_what_is_not_sent_by_the_end_counts_with_the_time_it_waited() -> None:
    with slow_server(0.1) as cluster:
        samples = send_open_loop(clients_of(cluster, 1), np.zeros(10), give_up=0.25)
    assert len(samples.response) <= 3 and len(samples.response) + len(samples.waiting) == samples.requests == 10
    assert samples.waiting == pytest.approx([250.0] * len(samples.waiting))
    p50 = samples.percentile(50)
    assert p50 is not None and p50 >= 200


def test_failed_requests_are_counted_once_and_not_sent_again() -> None:
    with slow_server(0.0, failing=3) as cluster:
        samples = send_open_loop(clients_of(cluster, 1), np.zeros(10), give_up=5)
    assert samples.failed == 3 and len(samples.response) == 7
    ((reason, times),) = samples.errors.items()
    assert times == 3 and "429" in reason and "full" in reason


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({**HITS, "timed_out": True}, "timed out"),
        ({**HITS, "_shards": {"total": 2, "successful": 1, "failed": 0}}, "1 of 2 shards"),
        ({"acknowledged": True}, "not that of a search"),
        (None, "not that of a search"),
    ],
)
def test_an_answer_that_lacks_hits_is_an_error(body: Any, words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        check_answer("i", body)
    check_answer("i", HITS)


def test_arrivals() -> None:
    random = np.random.default_rng(3)
    assert arrivals(4, 1, "constant", random).tolist() == [0, 0.25, 0.5, 0.75]
    due = arrivals(1000, 20, "poisson", random)
    gaps = np.diff(due)
    assert (gaps >= 0).all() and due[-1] < 20
    assert len(due) == pytest.approx(20_000, rel=0.03)  # 4 standard deviations
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)  # as of an exponential distribution
    assert len(arrivals(0.01, 1, "poisson", random)) == 1
    for wrong in ((0, 1, "poisson"), (1, 0, "poisson"), (1, 1, "uniform"), (float("nan"), 1, "constant")):
        with pytest.raises(InputError):
            arrivals(*wrong, random)  # type: ignore[call-arg]  # a wrong kind too


def samples_of(values: list[float]) -> Samples:
    empty = np.array([], dtype=np.float64)
    return Samples(np.array(values), np.array(values), empty, {}, 1.0)


def test_a_percentile_needs_a_value_above_it() -> None:
    assert samples_of([1.0] * 999).percentile(99.9) is None
    assert samples_of([1.0] * 1000).percentile(99.9) == 1.0
    assert samples_of([1.0] * 99).percentile(99) is None
    assert samples_of([*map(float, range(1, 102))]).percentile(99) == 100.0


def test_the_rate_within_a_bound_is_found() -> None:
    """Servers with p99 = 1 / (mu - rate), as the mean of an M/M/1 queue: within b up to mu - 1 / b."""
    asked: list[str] = []

    def measure(system: str, rate: float, seconds: float) -> Samples:
        asked.append(system)
        served = {"fast": 200.0, "slow": 50.0}[system]
        values = np.full(200, 1000 / (served - rate))
        return Samples(values, values, np.array([]), {}, seconds)

    rates = rates_within({"fast": 200.0, "slow": 50.0}, 50.0, measure)
    assert rates["fast"] == pytest.approx(180, abs=200 / 64) and rates["fast"] <= 180
    assert rates["slow"] == pytest.approx(30, abs=50 / 64) and rates["slow"] <= 30
    assert asked[:4] == ["fast", "slow", "fast", "slow"]


def test_a_rate_that_is_not_kept_up_is_not_within_the_bound() -> None:
    good = Samples(np.ones(200), np.ones(200), np.array([]), {}, 2.0)
    assert within(good, 2.0, 1.0) and not within(good, 1.8, 1.0) and not within(good, 2.0, 0.5)
    assert not within(replace(good, errors={"429": 1}), 2.0, 1.0)
    assert not within(replace(good, waiting=np.array([0.1])), 2.0, 1.0)


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://localhost:9200", True), ("http://127.9.0.1:9200", True), ("http://[::1]:9200", True),
        ("http://localhost.example:9200", False), ("https://search.example", False), ("http://10.0.0.1:9200", False),
    ],
)  # fmt: skip
def test_a_cluster_elsewhere_is_loaded_only_with_leave_and_a_rate(url: str, own: bool) -> None:
    assert is_loopback(url) == own
    cluster = Cluster(url)
    if own:
        check_allowed(cluster, False, None)
        return
    with pytest.raises(InputError, match="allow_remote"):
        check_allowed(cluster, False, 10)
    with pytest.raises(InputError, match="rate"):
        check_allowed(cluster, True, None)
    check_allowed(cluster, True, 10)


def test_the_command_names_its_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queries = tmp_path / "queries.txt"
    queries.write_text("a\n")
    with pytest.raises(SystemExit) as stopped:
        main(["loadtest", "--cluster", "http://search.example", "--index", "i", "--queries", str(queries)])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "--allow-remote" in said and "--rate" in said


def test_the_report_compares_with_bm25_of_the_same_clients() -> None:
    fast, slow = samples_of([2.0] * 100), samples_of([5.0] * 100)
    rows = [
        Measured.of("bm25", 1, 10, 50, fast), Measured.of("sparse", 1, 10, 40, slow),
        Measured.of("sparse", 10, 10, 40, samples_of([1.0])),
    ]  # fmt: skip
    deployment = {"documents": 3, "bytes": 1, "segments": 1, "vector": "rank_features"}
    machine = {"processors": 2, "load_average": [0.5, 1.5], "loopback": True}
    report = LoadReport("i", deployment, {"bm25": "match"}, 7, "poisson", 5.0, rows, machine, 0.1)
    assert [row["p99_to_bm25"] for row in report.to_json()["rows"]] == [1.0, 2.5, None]
    lines = str(report).splitlines()
    assert "2.50x" in lines[3] and "n/a" in lines[4] and "at bound/s" not in lines[1]
    assert "load average before and after: 0.5 and 1.5" in lines[-1]
