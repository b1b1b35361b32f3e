"""What the person on call sees: each fault is one line of ``osparse status`` with the command that mends it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from mlcommons_server import MLCommonsServer

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.deployer import deploy
from osparse.deployer.health.metrics import HELP

from .conftest import client

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\|[^|]+\| `([^`]+)` \|", PAGE.partition("## On call")[2], re.MULTILINE)
"""What the page says that ``status`` prints; words in capitals stand for names."""


def listed(line: str) -> bool:
    """Whether the page has a line that ``status`` printed."""
    patterns = (re.sub(r"\b(INDEX|NAME|OTHER|REASON)\b", ".+", re.escape(shown)) for shown in LINES)
    return any(re.fullmatch(pattern, line) for pattern in patterns)


def osparse(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


def close(server: MLCommonsServer, index: str) -> None:
    client(server).request("POST", f"/{index}/_close")


def delete_ingest_pipeline(server: MLCommonsServer, index: str) -> None:
    server.ingest.clear()


def delete_search_pipeline(server: MLCommonsServer, index: str) -> None:
    server.pipelines.clear()


def fail_model(server: MLCommonsServer, index: str) -> None:
    (encoder,) = (i for i, model in server.models.items() if model["name"].endswith("-encoder"))
    server.models[encoder]["model_state"] = "DEPLOY_FAILED"
    del server.runtimes[encoder]


def delete_model(server: MLCommonsServer, index: str) -> None:
    (encoder,) = (i for i, model in server.models.items() if model["name"].endswith("-encoder"))
    for method, path in (("POST", f"{encoder}/_undeploy"), ("DELETE", encoder)):
        client(server).request(method, f"/_plugins/_ml/models/{path}")


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (close, r"the index is closed and answers nothing; open it with: (POST /\S+/_open)"),
        (delete_ingest_pipeline, r"ingest pipeline \S+ is gone; run (osparse status --heal)"),
        (delete_search_pipeline, r"search pipeline \S+ is gone; run (osparse status --heal)"),
        (fail_model, r"model \S+-encoder is DEPLOY_FAILED and does not answer .*; run (osparse status --heal)"),
        (delete_model, r"model \S+-encoder is gone; run (osparse deploy) again"),
    ],
)
def test_a_fault_is_one_line_and_its_command_mends_it(
    fault: Callable[[MLCommonsServer, str], None],
    line: str,
    server: MLCommonsServer,
    small_bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    deploy(small_bundle, client(server), "products")
    fault(server, f"products-{small_bundle.short}")
    target = ("--cluster", server.url, "--index", "products")
    assert osparse("status", *target) == 1
    shown = capsys.readouterr().out
    problems = [text for text in shown.splitlines() if text.strip().startswith("problem: ")]
    mending = [found for text in problems if (found := re.search(line, text))]
    assert len(problems) == len(mending) == 1, shown
    assert listed(problems[0].strip().removeprefix("problem: ")), problems
    command = mending[0][1]
    if command.startswith("POST"):
        client(server).request("POST", command.removeprefix("POST "))
    elif command == "osparse deploy":
        assert osparse("deploy", str(small_bundle.path), *target) == 0
    else:
        assert osparse("status", *target, "--heal") == 0
    assert osparse("status", *target) == 0


def test_every_metric_has_its_alert() -> None:
    alerts = PAGE.partition("## Alerts")[2].partition("\n## ")[0]
    assert {*re.findall(r"^\| `osparse_(\w+)` \|", alerts, re.MULTILINE)} == {*HELP}
