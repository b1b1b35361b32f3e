"""The systems of a load test, and the workload that is written: loaded anew, it gives the hits of the index it is of."""

from __future__ import annotations

import bz2
import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlcommons_server import MLCommonsServer, mlcommons_server

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.deployer import Cluster, deploy, index_documents, read_deployment
from osparse.deployer.cluster.api import ClusterApi
from osparse.errors import InputError
from osparse.retrieval import Searcher, load_test, write_workload
from osparse.retrieval.loadtest.query_texts import query_texts
from osparse.retrieval.loadtest.systems import available_systems, load_systems
from osparse.retrieval.serving.settings import Setting

TEXTS = ["growing pears in spring", "비와 구름", "the moon", "\u7bc6"]
SEARCHED = ("bm25", "sparse", "two-phase", "filtered")


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(params=["client", "ml-commons"])
def served(
    request: pytest.FixtureRequest, lookup: Bundle, dataset: Dataset
) -> Iterator[tuple[MLCommonsServer, Cluster]]:
    """The world's documents in the index "products"."""
    with mlcommons_server(plugins=()) if request.param == "client" else mlcommons_server() as running:
        cluster = Cluster(running.url, retries=2, backoff=0.01)
        deploy(lookup, cluster, "products")
        index_documents(cluster, "products", [dataset.path], workers=1)
        assert read_deployment(cluster, "products").mode == request.param
        yield running, cluster


def unpacked(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in bz2.decompress((folder / "documents.json.bz2").read_bytes()).splitlines()]


def rendered(folder: Path, name: str, **variables: object) -> Any:
    """As OpenSearch Benchmark renders it: Jinja2, then JSON."""
    jinja2 = pytest.importorskip("jinja2")
    text = (folder / name).read_text(encoding="utf-8")
    return json.loads(jinja2.Template(text).render(**variables))


def hits(answer: dict[str, Any]) -> list[tuple[str, float]]:
    return sorted((hit["_id"], round(hit["_score"], 4)) for hit in answer["hits"]["hits"])


def test_a_workload_gives_the_same_hits(served: tuple[MLCommonsServer, Cluster], tmp_path: Path) -> None:
    _, cluster = served
    made = write_workload(cluster, "products", TEXTS, tmp_path / "w")
    api, documents = ClusterApi(cluster), api_count(cluster)
    assert made.documents == documents and set(made.queries) == set(SEARCHED)
    lines = unpacked(tmp_path / "w")
    assert len(lines) == 2 * documents and lines[0]["index"]["_index"] == "products-workload"
    api.create_index("products-workload", rendered(tmp_path / "w", "index.json"))
    for action, source in zip(lines[::2], lines[1::2], strict=True):
        api.put_document("products-workload", action["index"]["_id"], source)
    searcher = Searcher(cluster, "products", setting=Setting())
    for name in SEARCHED:
        bodies = [json.loads(line) for line in (tmp_path / "w" / f"queries-{name}.json").read_bytes().splitlines()]
        assert len(bodies) == made.queries[name]
        for body in bodies:
            params = {"search_pipeline": "_none"}
            assert hits(api.search("products-workload", body)) == hits(api.search("products", body, params))
        if name == "sparse":
            own = searcher.body(TEXTS[0], size=10)
            assert own is not None and hits(api.search("products", bodies[0])) == hits(api.search("products", own))


def api_count(cluster: Cluster) -> int:
    return ClusterApi(cluster).count("products")


@pytest.mark.parametrize("served", ["client"], indirect=True)
def test_the_specification(served: tuple[MLCommonsServer, Cluster], tmp_path: Path) -> None:
    _, cluster = served
    folder = tmp_path / "w"
    write_workload(cluster, "products", TEXTS, folder, system=["sparse", "bm25"], name="trial")
    plain = rendered(folder, "workload.json")
    assert plain["indices"] == [{"name": "trial", "body": "index.json"}]
    ((corpus,),) = (part["documents"] for part in plain["corpora"])
    packed = folder / "documents.json.bz2"
    assert corpus["document-count"] == api_count(cluster) and corpus["compressed-bytes"] == packed.stat().st_size
    assert corpus["uncompressed-bytes"] == len(bz2.decompress(packed.read_bytes()))
    named = {operation["name"] for operation in plain["operations"]}
    for procedure in plain["test_procedures"]:
        asked = [task["operation"] for task in procedure["schedule"]]
        assert {name for name in asked if isinstance(name, str)} <= named
        assert not any("target-throughput" in task for task in procedure["schedule"])
    chosen = rendered(folder, "workload.json", target_throughput=5, iterations=7, search_clients=3)
    task = chosen["test_procedures"][1]["schedule"][0]
    assert (task["target-throughput"], task["iterations"], task["clients"]) == (5, 7, 3)


@pytest.mark.parametrize("served", ["client"], indirect=True)
def test_its_own_code_gives_each_client_another_query_first(
    served: tuple[MLCommonsServer, Cluster], tmp_path: Path
) -> None:
    _, cluster = served
    write_workload(cluster, "products", TEXTS, tmp_path / "w", system=["sparse"], name="trial")
    registered: dict[str, Any] = {}

    class Registry:
        def register_param_source(self, name: str, source: object) -> None:
            registered[name] = source

    runpy.run_path(str(tmp_path / "w" / "workload.py"))["register"](Registry())
    operation = {"index": "trial", "queries": "queries-sparse.json"}
    bodies = [json.loads(line) for line in (tmp_path / "w" / "queries-sparse.json").read_bytes().splitlines()]
    first, second = (registered["osparse-queries"](None, operation).partition(n, 2) for n in (0, 1))
    assert [first.params()["body"] for _ in range(len(bodies) + 1)] == [*bodies, bodies[0]]
    assert second.params()["body"] == bodies[len(bodies) // 2] and second.params()["index"] == "trial"


@pytest.mark.parametrize("served", ["client"], indirect=True)
def test_opensearch_benchmark_loads_it(served: tuple[MLCommonsServer, Cluster], tmp_path: Path) -> None:
    """By its own reader, which checks its schema; where it is installed."""
    loader = pytest.importorskip("osbenchmark.workload.loader")
    osbenchmark, config = pytest.importorskip("osbenchmark"), pytest.importorskip("osbenchmark.config")

    _, cluster = served
    write_workload(cluster, "products", TEXTS, tmp_path / "w")
    settings = config.Config()
    root = str(Path(osbenchmark.__file__).parent)
    settings.add(config.Scope.application, "node", "benchmark.root", root)
    reader = loader.WorkloadFileReader(settings)
    workload = reader.read("w", str(tmp_path / "w" / "workload.json"), str(tmp_path / "w"))
    assert [procedure.name for procedure in workload.test_procedures] == ["load-and-search", "search"]


@pytest.mark.parametrize("served", ["client"], indirect=True)
def test_what_cannot_be_written(served: tuple[MLCommonsServer, Cluster], tmp_path: Path) -> None:
    _, cluster = served
    api = ClusterApi(cluster)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists on .* another `name`"):
        write_workload(cluster, "products", TEXTS, tmp_path / "w", name="products")
    with pytest.raises(InputError, match="hybrid: a workload of products can have bm25, sparse, two-phase, filtered"):
        write_workload(cluster, "products", TEXTS, tmp_path / "w", system=["hybrid"])
    with pytest.raises(InputError, match="no token is known"):
        write_workload(cluster, "products", ["\u7bc6"], tmp_path / "w", system=["sparse"])
    with pytest.raises(InputError):
        write_workload(cluster, "products", TEXTS, tmp_path / "other")
    assert not (tmp_path / "w").exists() and (tmp_path / "other" / "mine.txt").exists()
    assert api.get_mapping("products-workload") is None, "writing a workload creates no index"


def test_the_systems_find_what_they_should(served: tuple[MLCommonsServer, Cluster]) -> None:
    server, cluster = served
    searcher = Searcher(cluster, "products")
    assert available_systems(searcher.deployment, searcher.setting) == [
        "bm25", "sparse", "two-phase", "hybrid", "filtered",
    ]  # fmt: skip
    systems = load_systems(searcher, [], TEXTS)
    client = cluster.single_client()
    server.calls.clear()
    for system in systems:
        system.connect(client)(0)
    assert {s.name: s.queries for s in systems} == {
        "bm25": 4, "sparse": 3, "two-phase": 3, "hybrid": 3, "filtered": 3,
    }  # fmt: skip
    for names, words in ((["seismic"], "not possible here"), (["bm25", "bm25"], "twice"), (["b"], "is not one of")):
        with pytest.raises(InputError, match=words):
            load_systems(searcher, names, TEXTS)


@pytest.mark.parametrize("served", ["client"], indirect=True)
def test_a_whole_test(
    served: tuple[MLCommonsServer, Cluster], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, cluster = served
    queries = tmp_path / "queries.txt"
    queries.write_text("\n".join(TEXTS) + "\n\n", encoding="utf-8")
    assert query_texts(None, queries) == TEXTS
    out = tmp_path / "out"
    arguments = ["loadtest", "--cluster", cluster.url, "--index", "products", "--queries", str(queries), "--clients",
                 "2", "--seconds", "0.5", "--rate", "20", "--system", "bm25", "--system", "sparse"]  # fmt: skip
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--output", str(out), "--json"])
    assert stopped.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "loadtest.json").read_text())
    assert [row["system"] for row in printed["rows"]] == ["bm25", "sparse"]
    assert all(row["failed"] == 0 and row["requests"] >= 5 and row["throughput"] > 0 for row in printed["rows"])
    assert printed["deployment"]["documents"] == api_count(cluster) and printed["machine"]["loopback"]
    assert (out / "loadtest.png").read_bytes().startswith(b"\x89PNG") and (out / "loadtest.txt").exists()
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--output", str(out)])
    assert stopped.value.code == 2 and "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("served", ["client"], indirect=True)
def test_settings_out_of_range(served: tuple[MLCommonsServer, Cluster]) -> None:
    _, cluster = served
    wrong: list[dict[str, Any]] = [
        {"clients": [0]}, {"clients": [65]}, {"clients": []}, {"seconds": 0.0}, {"bound": 0.0}, {"rate": 0.0}
    ]  # fmt: skip
    for setting in wrong:
        with pytest.raises(InputError, match=next(iter(setting))):
            load_test(cluster, "products", TEXTS, **setting)


def test_queries_come_from_one_place(tmp_path: Path) -> None:
    for given in ((None, None), (tmp_path, tmp_path)):
        with pytest.raises(InputError, match="one of `dataset` and `queries`"):
            query_texts(*given)
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(InputError, match="has no query"):
        query_texts(None, tmp_path / "empty.txt")
