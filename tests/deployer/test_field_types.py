"""Types of fields: inferred from many values, put into the mapping before the load, printed to keep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mlcommons_server import Fault, MLCommonsServer

from osparse.cli.main import cli
from osparse.contracts.bundle import Bundle
from osparse.deployer import deploy, index_documents, infer_mapping
from osparse.errors import InputError
from osparse.rows import field_types
from osparse.rows.field_types import SHORT, Values, converted, look_ahead
from osparse.rows.read_rows import ReadRow

from .conftest import TEXTS, client

LONG = {"type": "long", "coerce": False}
KEYWORD = {"type": "keyword", "ignore_above": 8191}
BOTH = {**KEYWORD, "fields": {"text": {"type": "text"}}}
HEADER = "sku,text,brand,price,stock,sale,added,zip,blurb,tags.main"
CSV = [
    f'7,{TEXTS[0]},Acme Inc,3.50,12,true,2026-01-02,01234,"{"many words " * 9}",a',
    f"8,{TEXTS[1]},,10,0,False,2026-01-03 10:30:00,99999,x,",
]


@pytest.fixture(params=["ml-commons", "client"])
def running(request: pytest.FixtureRequest, server: MLCommonsServer, core: MLCommonsServer) -> MLCommonsServer:
    return server if request.param == "ml-commons" else core


def csv(path: Path, *rows: str) -> Path:
    path.write_text("\n".join([HEADER, *(rows or CSV)]) + "\n", encoding="utf-8")
    return path


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps({"id": n, "text": "x", **row}) + "\n" for n, row in enumerate(rows)), "utf-8")
    return path


def inferred(*values: Any, typed: bool = True) -> dict[str, Any] | None:
    seen = Values()
    for value in values:
        seen.see(value, typed=typed)
    return seen.mapping()


@pytest.mark.parametrize(
    ("values", "mapping"),
    [
        ([1, -2, None], LONG),
        ([1, 2.5], {"type": "double"}),
        ([2.0], {"type": "double"}),
        ([2**63], KEYWORD),
        ([True, False], {"type": "boolean"}),
        ([True, 1], KEYWORD),
        (["12", "13"], KEYWORD),  # JSON has numbers; a text is one on purpose
        (["2026-01-02", "2026-01-02T10:00:00Z", "2026-01-02T10:00:00.123456+09:00"], {"type": "date"}),
        (["2026-01-02", "2026-02-30"], KEYWORD),
        (["2026-01-02", "soon"], KEYWORD),
        (["a", "b c"], BOTH),
        (["a", "w " * 9], {"type": "text"}),
        (["a" * (SHORT + 1)], {"type": "text"}),
        ([["a", 2, None], []], KEYWORD),
        ([[1, 2], 3], LONG),
        ([None, [], {}], None),
        ([{"a": 1, "b": {"c": "x"}}, {"a": 2.5}],
         {"properties": {"a": {"type": "double"}, "b": {"properties": {"c": KEYWORD}}}}),
        ([[{"a": 1}, {"a.b": "x"}]], {"properties": {"a": LONG}}),
    ],
)  # fmt: skip
def test_values_that_agree_make_a_type(values: list[Any], mapping: dict[str, Any] | None) -> None:
    assert inferred(*values) == mapping


@pytest.mark.parametrize(
    ("values", "mapping"),
    [
        (["1", "-20"], LONG),
        (["1", "2.5", "1e-3"], {"type": "double"}),
        (["01234", "99999"], KEYWORD),
        (["1,5"], KEYWORD),
        (["99999999999999999999"], KEYWORD),
        (["true", "False"], {"type": "boolean"}),
        (["1", "true"], KEYWORD),
        (["2026-01-02 10:30:00", "2026-01-02"], {"type": "date", "format": field_types._SPACED}),
    ],
)
def test_cells_without_types(values: list[str], mapping: dict[str, Any]) -> None:
    assert inferred(*values, typed=False) == mapping


@pytest.mark.parametrize(
    ("value", "kind", "stored"),
    [
        ("12", "integer", 12), ("012", "long", "012"), ("1.5", "long", "1.5"), ("12", "double", 12.0),
        ("1e3", "scaled_float", 1000.0), ("nan", "double", "nan"), ("TRUE", "boolean", True), ("yes", "boolean", "yes"),
        ("12", "keyword", "12"), ("12", "", "12"), (None, "long", None), (5, "keyword", 5),
    ],
)  # fmt: skip
def test_a_cell_becomes_what_the_field_is_and_nothing_else(value: Any, kind: str, stored: Any) -> None:
    made = converted(value, kind)
    assert made == stored and type(made) is type(stored)


def test_a_csv_is_typed_before_it_is_loaded(running: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    cluster, path = client(running), csv(tmp_path / "d.csv")
    deploy(small_bundle, cluster, "products")
    done = index_documents(cluster, "products", [path], id_field="sku")
    assert (done.indexed, done.failed) == (2, 0)
    index = running.indices[f"products-{small_bundle.short}"]
    properties = index.mappings["properties"]
    expected = {
        "sku": LONG, "brand": BOTH, "price": {"type": "double"}, "stock": LONG, "sale": {"type": "boolean"},
        "added": {"type": "date", "format": field_types._SPACED}, "zip": KEYWORD, "blurb": {"type": "text"},
        "tags": {"properties": {"main": KEYWORD}},
    }  # fmt: skip
    assert {name: properties[name] for name in expected} == expected
    assert properties["text"]["type"] == "text" and properties["osparse_hash"]  # the rest is as it was
    stored = index.documents["7"]
    assert (stored["price"], stored["stock"], stored["sale"], stored["zip"], stored["sku"]) == (
        3.5,
        12,
        True,
        "01234",
        7,
    )
    assert index.documents["8"]["price"] == 10.0 and "brand" not in index.documents["8"]
    assert done.mapped["price"] == "double" and "new fields, typed by their values: sku long" in str(done)
    again = index_documents(cluster, "products", [path], id_field="sku")
    assert again.unchanged == 2 and not again.mapped


def test_the_owners_mapping_decides(core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(
        json.dumps({"mappings": {"properties": {"zip": {"type": "integer"}, "stock": {"type": "keyword"}}}})
    )
    deploy(small_bundle, client(core), "products", mapping=mine)
    index_documents(client(core), "products", [csv(tmp_path / "d.csv", CSV[1])], id_field="sku")
    (stored,) = core.indices[f"products-{small_bundle.short}"].documents.values()
    assert (stored["zip"], stored["stock"]) == (99999, "0")


@pytest.mark.parametrize("rule", [{"dynamic": "false"}, {"dynamic": "strict"}, {"dynamic_templates": [{"all": {}}]}])
def test_rules_of_the_owner_for_new_fields_are_left_alone(
    rule: dict[str, Any], core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"mappings": rule}))
    deploy(small_bundle, client(core), "products", mapping=mine)
    before = dict(core.indices[f"products-{small_bundle.short}"].mappings["properties"])
    done = index_documents(client(core), "products", [jsonl(tmp_path / "d.jsonl", {"brand": "x"})])
    assert not done.mapped and core.indices[f"products-{small_bundle.short}"].mappings["properties"] == before


def test_a_field_that_comes_late_is_typed_by_its_batch(
    running: MLCommonsServer, small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(field_types, "ROWS", 2)
    deploy(small_bundle, client(running), "products")
    rows: list[dict[str, Any]] = [{}, {}, {"late": 1, "osparse_hash": 1}, {"late": 2.5}, {"in": {"deep": "2026-01-01"}}]
    done = index_documents(client(running), "products", [jsonl(tmp_path / "d.jsonl", *rows)])
    assert done.failed == 1  # osparse_hash is osparse's own
    assert done.mapped == {"late": "double", "in": "object", "in.deep": "date"}


def test_a_user_who_may_not_map_leaves_it_to_the_cluster(
    core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deploy(small_bundle, client(core), "products")
    core.faults = [Fault("status", matching="PUT /.*/_mapping", times=9, status=403)]
    done = index_documents(client(core), "products", [jsonl(tmp_path / "d.jsonl", {"brand": "x"})])
    assert done.indexed == 1 and not done.mapped and "the types of brand are left to the cluster's guess" in caplog.text


def test_looking_ahead_is_bounded_and_takes_nothing_away(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []

    def rows() -> Iterator[ReadRow]:
        for number in range(100):
            taken.append(number)
            yield ReadRow(f"d:{number}", {"text": "x" * 100})
        raise InputError("d:101: not JSON")

    monkeypatch.setattr(field_types, "CHARACTERS", 1000)
    ahead, whole = look_ahead(rows())
    assert len(ahead) == len(taken) == 10
    assert [next(whole).where for _ in range(100)] == [f"d:{n}" for n in range(100)]
    monkeypatch.setattr(field_types, "CHARACTERS", 10**9)
    ahead, whole = look_ahead(rows())
    assert len(ahead) == 100
    with pytest.raises(InputError, match="d:101"):
        list(whole)


def test_a_printed_mapping_is_one_to_deploy_with(core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    """It needs no cluster, and an index made with it learns nothing more."""
    path = csv(tmp_path / "d.csv")
    shown = CliRunner().invoke(
        cli, ["index", "--print-mapping", "--id-field", "sku", "--rename", "added=date", str(path)]
    )
    assert shown.exit_code == 0, shown.output
    printed = json.loads(shown.output)
    assert "date" not in printed["mappings"]["properties"] and printed["mappings"]["properties"]["price"] == {
        "type": "double"
    }
    (tmp_path / "m.json").write_text(shown.output)
    deploy(small_bundle, client(core), "products", mapping=tmp_path / "m.json")
    done = index_documents(client(core), "products", [path], id_field="sku", rename={"added": "date"})
    assert done.indexed == 2 and not done.mapped
    with pytest.raises(InputError, match="no row is a document"):
        infer_mapping([path])


def test_a_field_of_the_text_stays_text(core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    """What the text is made of must be stored as the text has it: 10.0 would not be 10."""
    deploy(small_bundle, client(core), "products")
    index_documents(client(core), "products", [csv(tmp_path / "d.csv")], id_field="sku", template="{brand} {price}",
                    exclude=["text"])  # fmt: skip
    index = core.indices[f"products-{small_bundle.short}"]
    assert index.mappings["properties"]["price"] == KEYWORD
    assert index.documents["8"]["text"] == index.documents["8"]["price"] == "10"


def test_without_cluster_or_index_only_the_mapping_can_be_printed(tmp_path: Path) -> None:
    for arguments, said in (
        ([], "Missing option '--cluster'"),
        (["--cluster", "http://127.0.0.1:1"], "Missing option '--index'"),
    ):
        shown = CliRunner().invoke(cli, ["index", *arguments, str(csv(tmp_path / "d.csv"))])
        assert shown.exit_code == 2 and said in shown.output
