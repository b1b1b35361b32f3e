"""What a load does again and what it does not: after edits, after kill -9, through a bad network, beside a moving alias."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import world
from fault_proxy import Trouble, at_random, fault_proxy
from mlcommons_server import MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.deployer import Cluster, deploy, index_documents, load_rows
from osparse.deployer.load import bulk, refresh, stream
from osparse.deployer.load.documents import DeletionRow, DocumentRow, Row
from osparse.errors import ClusterError, InputError, OsparseError

from .conftest import client

WORDS = " ".join(text for record in world.RECORDS for text in record[1:]).split()


def rows(count: int) -> list[dict[str, object]]:
    return [{"id": f"d{n}", "text": f"{WORDS[n % len(WORDS)]} {WORDS[n * 7 % len(WORDS)]} {n}"} for n in range(count)]


def write(path: Path, found: Sequence[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return path


def stored(server: MLCommonsServer, bundle: Bundle) -> dict[str, Any]:
    return server.indices[f"products-{bundle.short}"].documents


@pytest.fixture
def served(core: MLCommonsServer, small_bundle: Bundle) -> Cluster:
    deploy(small_bundle, client(core), "products")
    return client(core)


def test_n_edits_are_n_texts_encoded(
    served: Cluster, core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    found = rows(60)
    path = write(tmp_path / "d.jsonl", found)
    first = index_documents(served, "products", [path], batch=7)
    assert (first.encoded, first.indexed, first.unchanged) == (60, 60, 0)
    assert index_documents(served, "products", [path], batch=7).encoded == 0
    for n in (3, 31, 59):
        found[n]["text"] = f"edited {n}"
    found[8]["title"] = "a title is no text of the encoder, and belongs to the content"
    again = index_documents(served, "products", [write(path, [*found, {"id": "new", "text": "x"}])], batch=11)
    assert (again.encoded, again.indexed, again.unchanged) == (5, 5, 56)
    versions = core.indices[f"products-{small_bundle.short}"].versions
    assert {i for i, version in versions.items() if version == 2} == {"d3", "d31", "d59", "d8"}


def test_documents_are_deleted_by_line_and_by_list(
    served: Cluster, core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    path = write(tmp_path / "d.jsonl", rows(10))
    index_documents(served, "products", [path])
    edits = [{"id": "d0", "_op": "delete"}, {"id": "d1", "_op": "index", "text": "x"}, {"id": "gone", "_op": "delete"}]
    edits += [{"id": "d2", "text": "y"}, {"id": "d2", "_op": "delete"}, {"id": "d3", "_op": "frobnicate", "text": "z"}]
    listed, other = tmp_path / "ids.txt", write(tmp_path / "ids.jsonl", [{"id": "d5"}, {"id": 5}])
    listed.write_text("d4\n\nnot there\r\n", encoding="utf-8")
    load = index_documents(
        served, "products", [write(path, edits)], delete=[listed, other], failures=tmp_path / "failed.jsonl"
    )
    assert (load.indexed, load.deleted, load.unchanged, load.repeated, load.failed) == (1, 4, 3, 1, 1)
    assert "4 deleted" in str(load) and '_op must be "index" or "delete"' in load.first_failures[0].reason
    assert set(stored(core, small_bundle)) == {"d1", "d3", "d6", "d7", "d8", "d9"}
    again = index_documents(served, "products", [], delete=[listed])
    assert (again.deleted, again.unchanged) == (0, 2)
    listed.write_bytes(b"d6\n\xff\n")
    with pytest.raises(InputError, match=r"ids\.txt:2: an id must be UTF-8"):
        index_documents(served, "products", [], delete=[listed])
    with pytest.raises(InputError, match="nothing to do"):
        index_documents(served, "products", [])


def test_a_load_that_was_killed_goes_on(
    core: MLCommonsServer, served: Cluster, small_bundle: Bundle, tmp_path: Path
) -> None:
    """kill -9 in the middle; the second run encodes only what is missing and leaves what one run would have left."""
    path = write(tmp_path / "d.jsonl", rows(400))
    index_documents(served, "products", [path])
    wanted = {i: dict(source) for i, source in stored(core, small_bundle).items()}
    stored(core, small_bundle).clear()
    command = [sys.executable, "-m", "osparse", "index", "--cluster", core.url, "--index", "products", str(path)]
    bulks = len([call for call in core.calls if call.path.endswith("_bulk")])
    process = subprocess.Popen([*command, "--batch", "8", "--workers", "1"], stderr=subprocess.PIPE)
    while len([call for call in core.calls if call.path.endswith("_bulk")]) < bulks + 6:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    there = len(stored(core, small_bundle))
    assert 0 < there < 400
    load = index_documents(served, "products", [path], batch=50)
    assert (load.encoded, load.unchanged) == (400 - there, there)
    assert stored(core, small_bundle) == wanted


def test_a_bad_network_loses_and_doubles_nothing(
    served: Cluster, core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    path = write(tmp_path / "d.jsonl", rows(300))
    troubles = [Trouble("status", 429, "0"), Trouble("status", 503), Trouble("reset"), Trouble("drop"), Trouble("lose")]
    with fault_proxy(core.url, at_random(0.3, troubles, 3, "_bulk|_mget|_refresh")) as proxy:
        load = index_documents(Cluster(proxy.url, retries=1, backoff=0.01), "products", [path], batch=10)
    assert (load.indexed, load.failed) == (300, 0) and len(proxy.struck) > 15
    assert {kind.split()[0] for kind in proxy.struck} == {"429", "503", "reset", "drop", "lose"}
    assert set(stored(core, small_bundle)) == {row["id"] for row in rows(300)}


def test_a_cluster_that_stays_away_is_an_error_and_what_was_sent_stays(
    served: Cluster, core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "TRIES", 2)
    path = write(tmp_path / "d.jsonl", rows(100))
    with fault_proxy(core.url, lambda number, call: Trouble("drop") if number > 20 else None) as proxy:
        with pytest.raises(ClusterError, match="cannot be reached"):
            index_documents(Cluster(proxy.url, retries=0), "products", [path], batch=10)
    there = len(stored(core, small_bundle))
    assert 0 < there < 100
    assert index_documents(served, "products", [path]).indexed == 100 - there


def test_an_alias_that_moves_takes_no_document_along(
    served: Cluster, core: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle
) -> None:
    """What the name stands for is decided at the start: an index never gets documents of another bundle's encoder."""
    deploy(other_bundle, served, "others")
    old, new = f"products-{small_bundle.short}", f"others-{other_bundle.short}"

    def moving() -> Iterator[Row]:
        for number, row in enumerate(rows(40)):
            if number == 20:
                core.indices[new].aliases.update(core.indices[old].aliases)
                core.indices[old].aliases.clear()
            yield DocumentRow(str(row["id"]), {"text": row["text"]})

    assert load_rows(served, "products", moving(), 40, batch=5).indexed == 40
    assert len(core.indices[old].documents) == 40 and not core.indices[new].documents


def test_an_index_that_vanishes_is_not_made_anew(
    served: Cluster, core: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanishing() -> Iterator[Row]:
        for number in range(40):
            if number == 20:
                core.indices.pop(f"products-{small_bundle.short}")
            yield DeletionRow(str(number)) if number % 2 else DocumentRow(str(number), {"text": "x"})

    with monkeypatch.context() as patch, pytest.raises(ClusterError, match="was deleted during the load"):
        patch.setattr(stream, "stored_hashes", lambda *asked: {})  # deleted after every look-up
        load_rows(served, "products", vanishing(), 40, batch=5)
    assert f"products-{small_bundle.short}" not in core.indices, "not even without mapping and pipelines"
    core.auto_create = False
    deploy(small_bundle, served, "products")
    with pytest.raises(ClusterError, match=r"no such index|was deleted during the load"):
        load_rows(served, "products", vanishing(), 40, batch=5)


def test_an_index_that_was_deployed_anew_during_a_load_is_left(
    served: Cluster, core: MLCommonsServer, small_bundle: Bundle
) -> None:
    name = f"products-{small_bundle.short}"

    def replaced() -> Iterator[Row]:
        for number in range(40):
            if number == 20:
                core.indices.pop(name)
                deploy(small_bundle, served, "products")
            yield DocumentRow(str(number), {"text": "x"})

    with pytest.raises(ClusterError, match=r"no such index|was deleted during the load"):
        load_rows(served, "products", replaced(), 40, batch=5)
    assert core.indices[name].mappings["_meta"]["osparse"] and core.indices[name].aliases


def test_documents_are_not_loaded_past_the_pipeline(server: MLCommonsServer, small_bundle: Bundle) -> None:
    deploy(small_bundle, client(server), "products")
    server.indices[f"products-{small_bundle.short}"].settings.pop("default_pipeline")
    with pytest.raises(ClusterError, match="would not be encoded by its bundle.*osparse deploy again"):
        load_rows(client(server), "products", iter([DocumentRow("a", {"text": "x"})]), 1)


def test_the_refresh_interval_comes_back(
    served: Cluster, core: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "MANY", 10)
    index = core.indices[f"products-{small_bundle.short}"]
    meta = dict(index.mappings["_meta"])
    seen: list[object] = []

    def watched(fail: bool = False) -> Iterator[Row]:
        seen.append(index.settings.get("refresh_interval"))
        yield DocumentRow("a", {"text": "x"})
        if fail:
            raise OsparseError("the end")

    for set_by_owner in (None, "5s"):
        index.settings |= {"refresh_interval": set_by_owner} if set_by_owner else {}
        load_rows(served, "products", watched(), 10)
        with pytest.raises(OsparseError, match="the end"):
            load_rows(served, "products", watched(fail=True), 10)
        assert index.settings.get("refresh_interval") == set_by_owner and index.mappings["_meta"] == meta
    assert seen == ["30s"] * 4
    index.settings["refresh_interval"] = "30s"  # as a load that was killed leaves it
    index.mappings["_meta"] = {**meta, refresh.META_KEY: "5s"}
    load_rows(served, "products", watched(), 1)
    assert index.settings.get("refresh_interval") == "5s" and index.mappings["_meta"] == meta
    for left_alone in ("-1", "2m"):
        index.settings["refresh_interval"] = left_alone
        load_rows(served, "products", watched(), 10)
        assert index.settings["refresh_interval"] == left_alone
    assert seen[-2:] == ["-1", "2m"]


LOAD = """
import re, sys
from pathlib import Path
from osparse.deployer import index_documents, open_cluster
for path in sys.argv[2:]:
    load = index_documents(open_cluster(sys.argv[1]), "products", [Path(path)], batch=50)
    peak = re.search(r"VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())
    print(load.indexed, int(peak[1]) // 1024)
"""
"""The peak of getrusage would be that of the test's own process, which a child inherits."""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own account of a process")
def test_memory_does_not_grow_with_the_corpus(
    server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(small_bundle, client(server), "products")
    monkeypatch.setattr(server.indices[f"products-{small_bundle.short}"], "put", lambda i, source: 1)
    monkeypatch.setattr(server, "ingested", lambda index, source, asked: source)
    paths = [tmp_path / f"{count}.jsonl" for count in (200, 1_200)]
    for path in paths:
        lines = (f'{{"id": "{path.stem}-{n}", "text": "{"x" * 10_000}"}}\n' for n in range(int(path.stem)))
        path.write_text("".join(lines), encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", LOAD, server.url, *paths], capture_output=True, text=True, check=True)
    (few, before), (many, peak) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert (few, many) == (200, 1_200)
    assert peak - before < 8, f"{peak - before} MB more for a file of 12 MB"
