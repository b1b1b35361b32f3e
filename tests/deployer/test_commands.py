"""The commands: one result each, exit codes, nothing secret, nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mlcommons_server import MLCommonsServer, mlcommons_server

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle

from .conftest import TEXTS

SECRET = "s3cret-Pa55"


def osparse(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    path = tmp_path / "documents.jsonl"
    path.write_text(
        "".join(json.dumps({"id": str(n), "text": t}) + "\n" for n, t in enumerate(TEXTS)), encoding="utf-8"
    )
    return path


def test_deploy_index_status(
    server: MLCommonsServer, small_bundle: Bundle, documents: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = ("--cluster", server.url, "--index", "products")
    assert osparse("deploy", str(small_bundle.path), *target, "--plan") == 0
    shown = capsys.readouterr()
    assert "+ create" in shown.out and "nothing was touched" in shown.out and "mode ml-commons" in shown.out
    assert osparse("deploy", str(small_bundle.path), *target) == 0
    assert "GET products/_search" in capsys.readouterr().out
    assert osparse("--json", "deploy", str(small_bundle.path), *target) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["changes"] == 0 and found["applied"] and {f["action"] for f in found["findings"]} == {"keep"}
    assert osparse("index", *target, str(documents), "--json") == 0
    assert json.loads(capsys.readouterr().out)["indexed"] == len(TEXTS)
    assert osparse("status", *target, "--json") == 0
    (one,) = json.loads(capsys.readouterr().out)["deployments"]
    assert one["ready"] and one["documents"] == len(TEXTS) and len(one["models"]) == 2
    server.restart()
    assert osparse("status", *target) == 1
    assert "NOT READY" in capsys.readouterr().out


def test_a_failed_document_makes_exit_code_1(
    server: MLCommonsServer, small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = ("--cluster", server.url, "--index", "products")
    osparse("deploy", str(small_bundle.path), *target)
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": "a", "text": "x"}\n{"id": "b"}\n', encoding="utf-8")
    failures = tmp_path / "failed.jsonl"
    assert osparse("index", *target, str(bad), "--failures", str(failures)) == 1
    assert json.loads(failures.read_text(encoding="utf-8"))["id"] == "b"
    assert "1 failed" in capsys.readouterr().out
    bad.write_text('{"id": "a", "text": "x"}\n{"id": \n', encoding="utf-8")
    assert osparse("index", *target, str(bad)) == 2
    assert "bad.jsonl:2: not JSON" in capsys.readouterr().err


def test_no_secret_is_ever_printed(
    server: MLCommonsServer, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OSPARSE_USERNAME", "admin")
    monkeypatch.setenv("OSPARSE_PASSWORD", SECRET)
    server.password = ("admin", SECRET)
    target = ("--cluster", server.url, "--index", "products", "--verbose")
    assert osparse("deploy", str(small_bundle.path), *target, "--json") == 0
    assert osparse("status", *target) == 0
    server.password = ("admin", "other")
    assert osparse("status", *target) == 1
    assert osparse("status", "--cluster", f"http://admin:{SECRET}@127.0.0.1:9", "--verbose", "--json") == 2
    shown = capsys.readouterr()
    assert "401" in shown.err and SECRET not in shown.out + shown.err


def test_exit_codes(small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = str(small_bundle.path)
    assert osparse("deploy", bundle, "--cluster", "http://127.0.0.1:9", "--index", "x") == 1
    assert "cannot be reached" in capsys.readouterr().err
    assert osparse("deploy", str(tmp_path), "--cluster", "http://127.0.0.1:9", "--index", "x") == 2
    assert "is not a bundle" in capsys.readouterr().err
    with mlcommons_server(plugins=()) as server:
        assert osparse("deploy", bundle, "--cluster", server.url, "--index", "x", "--mode", "ml-commons") == 1
        assert "needs the plugins" in capsys.readouterr().err
        assert osparse("index", "--cluster", server.url, "--index", "none", bundle) == 2
        assert osparse("deploy", bundle, "--cluster", server.url, "--index", "Not Good") == 2


def test_doctor(server: MLCommonsServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert osparse("doctor") == 0
    assert "extra train" in capsys.readouterr().out
    server.persistent.clear()
    assert osparse("doctor", "--cluster", server.url) == 0
    shown = capsys.readouterr().out
    assert "PUT /_cluster/settings" in shown and "mode client works" in shown and "no nori" in shown
    with mlcommons_server(plugins=()) as core:
        assert osparse("doctor", "--cluster", core.url, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["observations"]
    assert any(r["level"] == "missing" and "opensearch-ml and opensearch-neural-search" in r["text"] for r in rows)


def test_the_deploy_side_imports_no_torch(server: MLCommonsServer, small_bundle: Bundle, documents: Path) -> None:
    target = ["--cluster", server.url, "--index", "products"]
    runs = [
        ["deploy", str(small_bundle.path), *target, "--mode", "client"],
        ["index", *target, str(documents)],
        ["status", *target],
    ]
    code = (
        "import sys; from osparse.cli.main import main\n"
        f"for run in {runs!r}:\n    try: main(run)\n    except SystemExit as e: assert not e.code, run\n"
        "print([m for m in ('torch', 'transformers', 'polars') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n"), done.stderr
