"""The command line of an adoption, its query templates and its two gates."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from adoption_world import contents, document, fill
from click.testing import CliRunner
from mlcommons_server import MLCommonsServer, mlcommons_server

from osparse.cli.main import cli, main
from osparse.contracts.bundle import Bundle
from osparse.errors import InputError
from osparse.retrieval import adoption_gate
from osparse.retrieval.adoption_gate import filled, read_template

from .conftest import client, stands_on

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli, list(arguments))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command says that is refused as wrong input, or as a conflict."""
    with pytest.raises(SystemExit) as done:
        main(list(arguments))
    assert done.value.code
    return capsys.readouterr().err


def test_the_command_takes_an_index_of_another_cluster_and_gives_the_name_back(
    core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    """With the shop of examples/products.py; the credentials of --cluster stay there."""
    shop = runpy.run_path(str(ROOT / "examples" / "products.py"))
    rows = [*shop["products"](60)]
    assert rows == [*shop["products"](60)] and len(rows[0]) == 9
    text = ["--text-field", "name", "--text-field", "description"]
    shop["load"](core.url, "products-v7", rows)
    target = ["--cluster", core.url, "--index", "products"]
    deployed = run("deploy", str(small_bundle.path), *target, "--from", "products-v7", *text, "--json")
    assert deployed.exit_code == 0, deployed.output
    assert "products now stands on products-v7 (not made by osparse, 60 documents)" in run("rollback", *target).output
    with mlcommons_server(plugins=()) as near:
        near.password = ("me", "secret")
        env = {"OSPARSE_USERNAME": "me", "OSPARSE_PASSWORD": "secret"}
        command = ["deploy", str(small_bundle.path), "--cluster", near.url, "--index", "products", *text]
        done = CliRunner().invoke(cli, [*command, "--from", f"{core.url}#products"], env=env)
        assert done.exit_code == 0, done.output
        assert contents(near, stands_on(near)[0]) == contents(core, "products-v7")
    assert not any("authorization" in headers for headers in core.headers_seen)


def test_options_that_go_with_another_are_named(
    core: MLCommonsServer, small_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(core)
    command = ["deploy", str(small_bundle.path), "--cluster", core.url, "--index", "products"]
    said = refused(capsys, *command, "--replace-index", "--changed-field", "date")
    assert "--changed-field and --replace-index go with --from INDEX" in said
    said = refused(capsys, *command, "--from", "products-v7", "--gate-query", "q.json")
    assert "--gate-query goes with --gate DATASET" in said
    assert "take its documents over (--from)" in refused(capsys, *command)
    said = refused(capsys, *command, "--from", "products-v7")
    assert "--text-field" in said and "Its text fields: about, name" in said
    said = refused(capsys, *command, "--from", "products-v7", "--text-field", "name", "--no-copy")
    assert "--stage and --no-copy leave out what --from asks for" in said


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"query": {"match": {"name": "fixed"}}}, "has {{text}} where the text of a query belongs"),
        ({"match": {"name": "{{text}}"}}, "must hold a search body"),
        ({"query": {"match": {"name": "{{text}}"}}, "sort": ["price"]}, "sorts the hits"),
    ],
)
def test_a_query_template_that_cannot_be_used(tmp_path: Path, body: Any, problem: str) -> None:
    path = tmp_path / "query.json"
    path.write_text(json.dumps(body))
    with pytest.raises(InputError, match=re.escape(problem)):
        read_template(path)


def test_a_query_template_is_filled_everywhere_and_its_text_is_never_read_as_one() -> None:
    template = {"query": {"bool": {"should": [{"match": {"a": "{{text}}"}}, {"match": {"b": "x {{text}} y"}}]}}, "n": 1}
    assert filled(template, '"{{text}}"') == {
        "query": {"bool": {"should": [{"match": {"a": '"{{text}}"'}}, {"match": {"b": 'x "{{text}}" y'}}]}}, "n": 1
    }  # fmt: skip


def test_both_gates_measure_the_same_judged_queries(
    core: MLCommonsServer, small_bundle: Bundle, tmp_path: Path
) -> None:
    """By the text fields of the mapping, or by a template; against a closed form: each query has one answer, found first."""
    judged = tmp_path / "judged"
    (judged / "qrels").mkdir(parents=True)
    words = ["pear", "bread", "rain", "tram"]
    fill(core, count=0)
    for n, word in enumerate(words):
        client(core).request("PUT", f"/products-v7/_doc/{n}", body={**document(n, word), "about": word})
        core.indices["products-v7"].documents[str(n)]["text"] = f"{word} {word}s"
    lines = [json.dumps({"_id": str(n), "text": word}) + "\n" for n, word in enumerate(words)]
    (judged / "corpus.jsonl").write_text("".join(lines))
    (judged / "queries.jsonl").write_text("".join(lines))
    qrels = "".join(f"{n}\t{n if n < 3 else 0}\t1\n" for n in range(4))
    (judged / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + qrels)
    query = tmp_path / "query.json"
    query.write_text(json.dumps({"query": {"match": {"text": "{{text}}"}}}))
    for template in (None, query):
        gate = adoption_gate(client(core), judged, "products", query=template)
        assert gate.measure("products-v7") == pytest.approx(3 / 4)
