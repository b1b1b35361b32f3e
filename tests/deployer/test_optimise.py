"""Segments, merges, warm-up and the state of a sparse_vector field; the metrics of it all."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest
from mlcommons_server import MLCommonsServer

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.deployer import deploy, index_documents, metrics_text, optimise, status
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.health.metrics import HELP, Sample
from osparse.deployer.index.layout import Serving
from osparse.deployer.index.seismic_parameters import DEFAULT_THRESHOLD, threshold_of
from osparse.deployer.index.seismic_threads import THREADS
from osparse.deployer.mlcommons import tasks
from osparse.deployer.operate.deploy_options import ModelOptions
from osparse.deployer.segments.optimise import LARGEST_SEGMENT, needs_merge, target_segments
from osparse.deployer.segments.segments import Segment, read_segments
from osparse.deployer.segments.seismic import split_segments
from osparse.errors import DeploymentConflictError, InputError

from .conftest import TEXTS, client

SEISMIC = {"field": "sparse_vector", "seismic_threshold": 5}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "FIRST_WAIT", 0.005)


def load(server: MLCommonsServer, tmp_path: Path, copies: int = 1) -> int:
    path = tmp_path / "d.jsonl"
    texts = list(TEXTS) * copies
    rows = [{"id": str(n), "text": text, "title": text} for n, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    index_documents(client(server), "products", [path])
    return len(texts)


def test_an_index_is_merged_once_and_warmed_up(core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    deploy(small_bundle, client(core), "products")
    number = load(core, tmp_path, copies=3)
    planned = optimise(client(core), "products", plan_only=True)
    assert planned.merged and not planned.applied and not core.merges and "would be merged to 1" in str(planned)
    done = optimise(client(core), "products")
    assert len(done.before) == -(-number // 4) and len(done.after) == 1 and done.after[0].documents == number
    assert done.warmed and not core.warmed
    again = optimise(client(core), "products")
    assert not again.merged and again.warmed and "nothing is merged" in str(again)
    four = optimise(client(core), "products", segments=4)
    assert not four.merged and len(core.threads_at_merge) == 1


def test_seismic_threads_are_put_back(server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    deploy(small_bundle, client(server), "products", serving=SEISMIC)
    load(server, tmp_path, copies=3)
    done = optimise(client(server), "products", threads=6)
    assert server.threads_at_merge == ["6"] and THREADS not in server.persistent
    assert server.warmed == ["products"] and "costs recall" in str(done)
    server.persistent[THREADS] = "3"
    for index in server.indices.values():
        index.merged = None
    optimise(client(server), "products", threads=6)
    assert server.threads_at_merge == ["6", "6"] and server.persistent[THREADS] == "3"


def test_a_full_cache_is_said_although_the_server_answers_200(
    server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    deploy(small_bundle, client(server), "products", serving=SEISMIC)
    load(server, tmp_path, copies=3)
    server.breaker_full = True
    done = optimise(client(server), "products")
    assert done.merged and "not cached whole" in str(done) and not server.warmed


def test_wrong_numbers(core: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(core), "products")
    for wrong, words in (({"segments": 0}, "segments"), ({"threads": 0}, "threads"), ({"threads": 2}, "leave it out")):
        with pytest.raises(InputError, match=words):
            optimise(client(core), "products", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sizes", "target"), [([1, 1], 1), ([LARGEST_SEGMENT, 1], 2), ([LARGEST_SEGMENT * 3], 3), ([], 1), ([0], 1)]
)
def test_segments_stay_below_what_lucene_merges(sizes: list[int], target: int) -> None:
    segments = [Segment("i[0]", f"_{n}", 9, 0, size) for n, size in enumerate(sizes)]
    assert target_segments(segments) == target
    assert needs_merge(segments, target) == (len(sizes) > target)
    assert needs_merge([Segment("i[0]", "_0", 9, 1, 5)], 1), "deleted documents are merged away"


def test_a_segment_at_the_threshold_is_approximate() -> None:
    segments = [Segment("i[0]", "_0", 9, 1, 1), Segment("i[0]", "_1", 10, 0, 1), Segment("i[0]", "_2", 9, 0, 1)]
    large, small = split_segments(segments, 10)
    assert [s.name for s in large] == ["_0", "_1"] and [s.name for s in small] == ["_2"]


def test_the_threshold_is_kept_and_may_be_chosen(
    server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    def threshold(bundle: Bundle) -> int:
        return threshold_of(server.indices[f"products-{bundle.short}"].mappings, "sparse_embedding")

    plan = deploy(small_bundle, client(server), "products", serving={"field": "sparse_vector"}, plan_only=True)
    assert f"segments below {DEFAULT_THRESHOLD:,} documents searched exactly" in str(plan)
    deploy(small_bundle, client(server), "products", serving=SEISMIC)
    assert threshold(small_bundle) == 5
    with pytest.raises(DeploymentConflictError, match="SEISMIC threshold: 5 there, 6 required"):
        deploy(small_bundle, client(server), "products", serving={"seismic_threshold": 6})
    load(server, tmp_path)
    deploy(other_bundle, client(server), "products")
    assert threshold(other_bundle) == 5, "as in the index that it replaces"
    with pytest.raises(InputError, match="goes with `field=sparse_vector`"):
        deploy(small_bundle, client(server), "others", serving={"seismic_threshold": 6})


def test_deploy_sets_threads_only_with_leave(server: MLCommonsServer, small_bundle: Bundle) -> None:
    seismic = Serving(field="sparse_vector")
    plan = deploy(small_bundle, client(server), "products", serving=seismic, plan_only=True)
    assert f"{THREADS}=1  (1 of them now; half of the processors of the smallest node is 4" in str(plan)
    deploy(small_bundle, client(server), "products", serving=seismic)
    assert THREADS not in server.persistent
    deploy(small_bundle, client(server), "products", serving=seismic, models=ModelOptions(allow_settings=True))
    assert server.persistent[THREADS] == "4"


def test_status_shows_the_segments_and_the_cache(server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    deploy(small_bundle, client(server), "products", serving=SEISMIC)
    number = load(server, tmp_path, copies=3)
    (before,) = status(client(server), "products")
    assert before.seismic is not None and before.seismic.approximate == 0 and before.seismic.memory is None
    assert (
        "stats_enabled turns that on" in str(before) and len(read_segments(ClusterApi(client(server)), "products")) > 1
    )
    server.persistent["plugins.neural_search.stats_enabled"] = "true"
    optimise(client(server), "products")
    (after,) = status(client(server), "products")
    assert after.seismic is not None and (after.seismic.approximate, after.seismic.exact) == (1, 0)
    assert after.seismic.share == 1.0 and after.seismic.memory == 2560 and after.seismic.queries == 7
    assert f"{number}" in str(after.documents) and "limit 10% of a node's heap" in str(after)


GRAMMAR = re.compile(
    r"# HELP [a-z_]+ [^\n]+|# TYPE [a-z_]+ gauge|"
    r'[a-z_]+(\{[a-z_]+="([^"\\\n]|\\[\\"n])*"(,[a-z_]+="([^"\\\n]|\\[\\"n])*")*\})? -?[0-9.e+-]+'
)
"""A line of the text exposition format, as far as it is used here."""


def parsed(text: str) -> dict[tuple[str, str], float]:
    """(name, labels) -> value, by prometheus_client where it is installed."""
    for line in text.splitlines():
        assert GRAMMAR.fullmatch(line), line
    assert text.endswith("\n")
    if importlib.util.find_spec("prometheus_client") is None:
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {(name.partition("{")[0], name.partition("{")[2].rstrip("}")): float(v) for name, _, v in lines}
    families = importlib.import_module("prometheus_client.parser").text_string_to_metric_families(text)
    rows = [sample for family in families for sample in family.samples]
    return {(s.name, ",".join(f'{k}="{v}"' for k, v in sorted(s.labels.items()))): s.value for s in rows}


def test_the_text_format_escapes_and_groups() -> None:
    odd = 'a"b\\c\nd'
    text = metrics_text([
        Sample("deployment_documents", {"index": "b", "alias": odd}, 3),
        Sample("cluster_up", {}, True),
        Sample("deployment_documents", {"index": "c", "alias": ""}, 0.25),
        Sample("cluster_up", {}, True),
    ])  # fmt: skip
    assert 'osparse_deployment_documents{alias="a\\"b\\\\c\\nd",index="b"} 3\n' in text
    assert text.count("\nosparse_cluster_up 1") == 1 and text.count("# TYPE osparse_deployment_documents") == 1
    assert len(parsed(text)) == 3
    assert all(re.fullmatch(r"[a-z_]+", name) and "\n" not in words for name, words in HELP.items())


def test_the_metrics_of_a_cluster(
    server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy(small_bundle, client(server), "products", serving=SEISMIC)
    number = load(server, tmp_path, copies=3)
    optimise(client(server), "products")
    log = tmp_path / "queries.log"
    log.write_text(f'{TEXTS[0]}\n{{"user_query": "{TEXTS[0]}"}}\n\u7bc6\u7bc6 \u7bc6\n', encoding="utf-8")
    arguments = ["status", "--cluster", server.url, "--index", "products", "--query-log", str(log)]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--metrics", "--recall", "3"])
    assert stopped.value.code == 0
    values = {name: value for (name, _), value in parsed(capsys.readouterr().out).items()}
    assert values["osparse_cluster_up"] == 1 and values["osparse_deployment_ready"] == 1
    assert values["osparse_deployment_documents"] == number and values["osparse_model_answers"] == 1
    assert values["osparse_query_log_queries"] == 3
    assert values["osparse_query_log_zero_hit_share"] == pytest.approx(1 / 3)
    assert 0 < values["osparse_query_log_unknown_token_share"] < 1
    assert values["osparse_seismic_recall"] == 1.0 and values["osparse_deployment_idf_age_seconds"] >= 0
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--max-zero-hits", "0.3", "--max-unknown", "1"])
    said = capsys.readouterr().out
    assert stopped.value.code == 3 and "exceeded: 33.3% of the queries find nothing" in said and "tokens are" in said


def test_the_metrics_of_a_cluster_that_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["status", "--cluster", "http://127.0.0.1:9", "--metrics"])
    assert stopped.value.code == 1
    assert parsed(capsys.readouterr().out) == {("osparse_cluster_up", ""): 0.0}


@pytest.mark.parametrize("options", [["--query-log", "x"], ["--recall", "3"], ["--index", "i", "--max-unknown", "0.1"]])
def test_options_that_need_another(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["status", "--cluster", "http://127.0.0.1:9", *options])
    assert stopped.value.code == 2 and "--" in capsys.readouterr().err
