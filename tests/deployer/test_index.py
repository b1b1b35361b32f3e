"""Loading: what stays in the index, what is told of the documents that failed, and when a load stops."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from mlcommons_refusals import Refused
from mlcommons_server import MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.deployer import deploy, encode_documents, index_documents
from osparse.errors import ClusterError, InputError
from osparse.runtime.processors import cores

from .conftest import client


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("batch", [1, 2, 256])
def test_of_an_id_that_comes_twice_the_last_row_stays(
    batch: int, core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    cluster = client(core)
    deploy(small_bundle, cluster, "products")
    rows = [{"id": "a", "text": "first"}, {"id": "a", "text": "last"}, {"id": "b", "text": "x"}]
    path = write(tmp_path / "d.jsonl", rows)
    stored = core.indices[f"products-{small_bundle.short}"].documents
    for _ in range(3):
        load = index_documents(cluster, "products", [path], batch=batch)
        assert {i: source["text"] for i, source in stored.items()} == {"a": "last", "b": "x"}
        assert load.repeated == (0 if batch == 1 else 1)
        assert load.indexed + load.unchanged + load.repeated == len(rows)
    assert load.unchanged == (1 if batch == 1 else 2)
    assert ("1 rows have the id of a later row" in str(load)) == (batch > 1)


TWICE: list[dict[str, object]] = [
    {"id": "a", "text": "first", "price": 1, "brand": "Acme", "old": True},
    {"id": "a", "text": "last", "price": 2, "old": None},
    {"id": "b", "text": "first", "price": 1},
    {"id": "b", "_op": "delete"},
    {"id": "b", "text": "after the deletion"},
    {"id": "c", "text": "deleted"},
    {"id": "c", "_op": "delete"},
]


@pytest.mark.parametrize("shards", [False, True], ids=["rows", "shards"])
def test_the_stored_fields_do_not_depend_on_the_batch(
    shards: bool, core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    """Rows of one id come to the same, whether they are sent together or one after the other, at the second load too."""
    cluster = client(core)
    path = write(tmp_path / "d.jsonl", TWICE)
    encode_documents([path], small_bundle, tmp_path / "shards", workers=1)
    given: dict[str, Any] = {"encoded": tmp_path / "shards"} if shards else {}
    for batch in (1, 2, 3, 256):
        deploy(small_bundle, cluster, f"by-{batch}")
        documents = core.indices[f"by-{batch}-{small_bundle.short}"].documents
        for _ in range(2):
            load = index_documents(cluster, f"by-{batch}", [] if shards else [path], batch=batch, **given)
            assert load.failed == 0
            kept = ("text", "price", "brand", "old")
            assert {i: {name: v for name, v in source.items() if name in kept} for i, source in documents.items()} == {
                "a": {"text": "last", "price": 2, "brand": "Acme"},
                "b": {"text": "after the deletion"},
            }
            for source in documents.values():  # what another program adds in between
                source["clicks"] = 7
        assert documents["a"]["clicks"] == 7 and load.indexed + load.unchanged > 0


def test_failures_are_listed_as_they_come_and_few_are_kept(
    core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    cluster = client(core)
    deploy(small_bundle, cluster, "products")
    bad = [{"id": str(n)} for n in range(50)]
    path = write(tmp_path / "d.jsonl", [*bad, {"id": "good", "text": "x"}])
    path.write_text(path.read_text(encoding="utf-8") + "broken\n", encoding="utf-8")
    listed = tmp_path / "out" / "failed.jsonl"
    with pytest.raises(InputError, match="52: not JSON"):
        index_documents(cluster, "products", [path], batch=10, failures=listed)
    assert [json.loads(line)["id"] for line in listed.read_text(encoding="utf-8").splitlines()] == [
        row["id"] for row in bad
    ]
    write(path, bad)
    load = index_documents(cluster, "products", [path], batch=10, failures=listed)
    assert load.failed == 50 and len(load.first_failures) == 3
    assert len(listed.read_text(encoding="utf-8").splitlines()) == 50


def test_a_load_stops_when_a_whole_batch_is_refused_alike(
    core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = client(core)
    deploy(small_bundle, cluster, "products")
    asked: list[str] = []

    def never(document_id: str, source: dict[str, Any]) -> int:
        asked.append(document_id)
        raise Refused(403, "cluster_block_exception", "index read-only / allow delete (api)")

    monkeypatch.setattr(core.indices[f"products-{small_bundle.short}"], "put", never)
    path = write(tmp_path / "d.jsonl", [{"id": str(n), "text": "x"} for n in range(100)])
    with pytest.raises(ClusterError, match=r"refuses every document of a batch of 10 .*allow delete \(api\)"):
        index_documents(cluster, "products", [path], batch=10, failures=tmp_path / "failed.jsonl")
    assert len(asked) <= 10 * (cores() + 1), "no more than the batches under way"
    assert len((tmp_path / "failed.jsonl").read_text(encoding="utf-8").splitlines()) == len(asked)
    few = write(tmp_path / "few.jsonl", [{"id": str(n), "text": "x"} for n in range(3)])
    load = index_documents(cluster, "products", [few], batch=10, failures=tmp_path / "failed.jsonl")
    assert load.failed == 3, "so few may be bad rows"


def test_a_place_for_failures_that_cannot_be_is_said_before_the_load(
    core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    cluster = client(core)
    deploy(small_bundle, cluster, "products")
    path = write(tmp_path / "d.jsonl", [{"id": "a", "text": "x"}])
    for wrong, words in (
        (tmp_path, "is a directory"),
        (path / "f.jsonl", "cannot be made"),
        (path, "is both an input"),
    ):
        calls = len(core.calls)
        with pytest.raises(InputError, match=f"{words}.*`failures`"):
            index_documents(cluster, "products", [path], failures=wrong)
        assert len(core.calls) == calls
    assert path.read_text(encoding="utf-8") == '{"id": "a", "text": "x"}\n'


def test_a_blank_text_is_stored_alike_in_both_modes(
    server: MLCommonsServer, core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    rows = [{"id": "e", "text": ""}, {"id": "s", "text": " \n"}, {"id": "t", "text": "pears", "title": "\u3000"}]
    path = write(tmp_path / "d.jsonl", rows)
    found = []
    for one in (server, core):
        deploy(small_bundle, client(one), "products")
        load = index_documents(client(one), "products", [path], failures=tmp_path / "failed.jsonl")
        assert (load.indexed, load.failed) == (3, 0)
        stored = one.indices[f"products-{small_bundle.short}"].documents
        found.append({i: (source["text"], "sparse_embedding" in source) for i, source in stored.items()})
    assert found[0] == found[1] == {"e": ("", False), "s": (" \n", False), "t": ("pears", True)}
