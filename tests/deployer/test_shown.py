"""What a deploy prints: its plan once, and Dev Tools lines that can be read."""

from __future__ import annotations

import json

import pytest
from mlcommons_server import MLCommonsServer

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.deployer import deploy
from osparse.deployer.operate.snippets import compact, example_text

from .conftest import client


def test_the_plan_is_printed_once(
    server: MLCommonsServer, small_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags in (["--plan"], [], []):
        with pytest.raises(SystemExit):
            main(["deploy", str(small_bundle.path), "--cluster", server.url, "--index", "products", *flags])
        shown = capsys.readouterr()
        lines = [line.strip() for line in (shown.out + shown.err).splitlines()]
        planned = [line for line in lines if line.startswith(("+ ", "~ ", "= ", "mode "))]
        assert len(planned) == 9 and len(set(planned)) == 9
        assert not [line for line in shown.err.splitlines() if "create  " in line]


def test_dev_tools_lines_are_compact_and_whole(core: MLCommonsServer, small_bundle: Bundle) -> None:
    snippet = deploy(small_bundle, client(core), "products").snippets
    body = snippet.split("GET products/_search\n")[1].split("\n\n")[0]
    clauses = json.loads(body)["query"]["bool"]["should"]
    assert len(clauses) > 1 and body.count("rank_feature") == len(clauses)
    assert sum("rank_feature" in line for line in body.splitlines()) == len(clauses), "one clause per line"
    assert len(body.splitlines()) == len(clauses) + 10 and example_text(small_bundle) in snippet


@pytest.mark.parametrize(
    "value",
    [{}, [], 1, None, "x", {"a": {"b": []}}, {"가": ["나" * 70, {"c" * 60: [1.5, True, None]}]}, [[["x" * 200]]]],
)
def test_compact_json_is_json(value: object) -> None:
    text = compact(value)
    assert json.loads(text) == value
    assert all(len(line) <= 110 or "x" * 200 in line for line in text.splitlines())
    assert compact({"a": [1, {"b": 2}]}) == '{"a": [1, {"b": 2}]}'
