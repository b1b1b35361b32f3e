"""Texts made of several fields: the same text whoever writes the document, recorded in the index, kept by upgrades."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mlcommons_caller import Caller
from mlcommons_ingest import _composed
from mlcommons_server import MLCommonsServer

from osparse.cli.main import cli
from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import Deployment
from osparse.deployer import deploy, index_documents
from osparse.deployer.load.read_deployment import read_deployment
from osparse.errors import InputError
from osparse.rows.text_template import TextTemplate

from .conftest import TEXTS, client

TEMPLATE = "{title}\n{body}"
ROWS: list[dict[str, Any]] = [
    {"id": "a", "title": TEXTS[0], "body": TEXTS[1], "price": 3},
    {"id": "b", "title": TEXTS[1]},
    {"id": "c", "title": " ", "body": ""},
]
TEXTS_OF = {"a": f"{TEXTS[0]}\n{TEXTS[1]}", "b": TEXTS[1], "c": ""}


@pytest.fixture(params=["ml-commons", "client"])
def running(request: pytest.FixtureRequest, server: MLCommonsServer, core: MLCommonsServer) -> MLCommonsServer:
    return server if request.param == "ml-commons" else core


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def documents(server: MLCommonsServer, bundle: Bundle) -> dict[str, dict[str, Any]]:
    return server.indices[f"products-{bundle.short}"].documents


def deployment(server: MLCommonsServer) -> Deployment:
    return read_deployment(client(server), "products")


@pytest.mark.parametrize(
    ("template", "row", "text"),
    [
        ("{a}\n{b}", {"a": "x", "b": "y"}, "x\ny"),
        ("{a}\n{b}", {"b": "y"}, "y"),
        ("{a}\n{b}\n{c}", {"a": "x", "b": None, "c": "z"}, "x\n\nz"),
        ("{{{a}}}: {b.c} {n} {t}", {"a": "x", "b": {"c": "deep"}, "n": -7, "t": True}, "{x}: deep -7 true"),
        ("{a.b}", {"a.b": "literal", "a": {"b": "deep"}}, "literal"),
        ("{tags}", {"tags": ["one", None, 2, False]}, "one 2 false"),
        ("{a} {a}", {"a": "\x1f x\u00a0"}, "x\u00a0 \x1f x\u00a0"),
        ("{a}", {"a": " \t"}, ""),
        ("{a}{b}", {"c": "x"}, None),
        ("{a.b}", {"a": "no object"}, None),
    ],
)
def test_a_template_is_filled_alike_here_and_in_a_pipeline(
    template: str, row: dict[str, Any], text: str | None
) -> None:
    """The emulator of the pipeline's script is written anew beside osparse's own code."""
    made = TextTemplate.parse(template)
    assert made.text_of(row) == text and str(made) == template
    body = {"params": {"pieces": [*made.pieces], "target": "text"}}
    assert _composed(body, row).get("text") == text


@pytest.mark.parametrize("value", [1.5, {"x": 1}, [[1]], [1.5]])
def test_what_two_languages_would_write_differently_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a is part of the text and must be a text or a whole number, found"):
        TextTemplate.parse("{a}").text_of({"a": value})


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("no field", "must name a field"),
        ("{open", "has a single '{'; double it"),
        ("shut}", "has a single '}'; double it"),
        ("{}", "has a single '{'"),
        ("{title} {text}", "names the field text, which holds what the template makes; rename"),
    ],
)
def test_a_template_that_cannot_be(template: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        TextTemplate.parse(template)


def test_several_text_fields_are_recorded_and_stored(
    running: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    cluster, path = client(running), write(tmp_path / "d.jsonl", *ROWS)
    deploy(small_bundle, cluster, "products")
    done = index_documents(cluster, "products", [path], text_field=["title", "body"])
    assert (done.indexed, done.failed) == (3, 0)
    stored = documents(running, small_bundle)
    assert {i: d["text"] for i, d in stored.items()} == TEXTS_OF
    assert stored["a"]["title"] == TEXTS[0] and stored["a"]["body"] == TEXTS[1] and stored["a"]["price"] == 3
    assert "sparse_embedding" not in stored["c"] and stored["a"]["sparse_embedding"] != stored["b"]["sparse_embedding"]
    assert deployment(running).text_template == TEMPLATE
    again = index_documents(cluster, "products", [path])  # what is recorded needs no option
    assert (again.unchanged, again.failed) == (3, 0)
    kept = deploy(small_bundle, cluster, "products")
    assert not kept.plan.changes and deployment(running).text_template == TEMPLATE


def test_another_template_is_refused_once_there_are_documents(
    running: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    cluster, path = client(running), write(tmp_path / "d.jsonl", *ROWS)
    deploy(small_bundle, cluster, "products", serving={"text_template": "{body}"})
    index_documents(cluster, "products", [path], template="{body} / {title}")  # empty: changed
    assert documents(running, small_bundle)["a"]["text"] == f"{TEXTS[1]} / {TEXTS[0]}"
    with pytest.raises(
        InputError, match=r"it holds documents whose text was made with the template '\{body\} / \{title\}'"
    ):
        index_documents(cluster, "products", [path], text_field=["title", "body"])
    with pytest.raises(InputError, match="`text_field` is body, and the index makes its texts with the template"):
        index_documents(cluster, "products", [path], text_field="body")
    plain = write(tmp_path / "p.jsonl", {"id": "z", "text": TEXTS[2]})
    assert index_documents(cluster, "products", [plain]).indexed == 1  # none of the fields: as the pipeline does
    both = write(tmp_path / "q.jsonl", {"id": "y", "text": "own", "title": "x"})
    failed = index_documents(cluster, "products", [both])
    assert failed.failed == 1 and "but the row has a text too" in failed.first_failures[0].reason


def test_documents_of_other_programs_get_the_same_text(
    server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    cluster, call = client(server), Caller(server)
    deploy(small_bundle, cluster, "products", serving={"text_template": TEMPLATE})
    index_documents(cluster, "products", [write(tmp_path / "d.jsonl", *ROWS)])
    for row in ROWS:
        call(
            "PUT",
            f"/products-{small_bundle.short}/_doc/{row['id']}-foreign",
            {k: v for k, v in row.items() if k != "id"},
        )
    stored = documents(server, small_bundle)
    for name in ("a", "b", "c"):
        assert stored[name].get("sparse_embedding") == stored[f"{name}-foreign"].get("sparse_embedding")
        assert stored[name]["text"] == stored[f"{name}-foreign"]["text"]


def test_an_upgrade_keeps_the_template_or_makes_the_texts_anew(
    running: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    cluster = client(running)
    deploy(small_bundle, cluster, "products", serving={"text_template": TEMPLATE})
    index_documents(cluster, "products", [write(tmp_path / "d.jsonl", *ROWS)])
    kept = deploy(other_bundle, cluster, "products")
    assert any("text-template" in note for note in kept.notes)
    assert {i: d["text"] for i, d in documents(running, other_bundle).items()} == TEXTS_OF


def test_an_upgrade_with_another_template(
    running: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    cluster = client(running)
    deploy(small_bundle, cluster, "products", serving={"text_template": TEMPLATE})
    index_documents(cluster, "products", [write(tmp_path / "d.jsonl", *ROWS)])
    deploy(other_bundle, cluster, "products", serving={"text_template": "{body}. {title}"})
    assert documents(running, other_bundle)["a"]["text"] == f"{TEXTS[1]}. {TEXTS[0]}"


def test_on_the_command_line(running: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    path = write(
        tmp_path / "d.jsonl", {"sku": 1, "name": TEXTS[0], "body": TEXTS[1], "cost": 2, "in": {"side": 1, "b": 2}}
    )
    deploy(small_bundle, client(running), "products")
    base = ["index", "--cluster", running.url, "--index", "products", "--id-field", "sku", "--rename", "name=title"]
    shown = CliRunner().invoke(
        cli, [*base, "--template", r"{title}\n{body}", "--exclude", "cost", "--exclude", "in.side", str(path)]
    )
    assert shown.exit_code == 0, shown.output
    (stored,) = documents(running, small_bundle).values()
    own = {name: value for name, value in stored.items() if name not in ("osparse_hash", "sparse_embedding")}
    text = f"{TEXTS[0]}\n{TEXTS[1]}"
    assert own == {"sku": 1, "title": TEXTS[0], "body": TEXTS[1], "text": text, "in": {"b": 2}}
    wrong = CliRunner().invoke(cli, [*base, "--template", "{title}", "--text-field", "body", str(path)])
    assert "--template names title and --text-field body" in str(wrong.exception)


def test_deploy_records_one_field_too(server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path) -> None:
    arguments = [
        "deploy",
        str(small_bundle.path),
        "--cluster",
        server.url,
        "--index",
        "products",
        "--text-field",
        "body",
    ]
    shown = CliRunner().invoke(cli, arguments)
    assert shown.exit_code == 0, shown.output
    assert deployment(server).text_template == "{body}"
    index_documents(client(server), "products", [write(tmp_path / "d.jsonl", *ROWS)], text_field="body")
    assert documents(server, small_bundle)["a"]["text"] == documents(server, small_bundle)["a"]["body"] == TEXTS[1]
