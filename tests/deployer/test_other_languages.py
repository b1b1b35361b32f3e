"""The query programs of docs/other-languages.md print osparse's own queries, where their toolchain is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import Deployment
from osparse.encoders.onnx_encoder import open_query_encoder
from osparse.retrieval.queries import query_body

PAGE = Path(__file__).parents[2] / "docs" / "other-languages.md"
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>query</groupId><artifactId>query</artifactId><version>1</version><dependencies><dependency>
<groupId>ai.djl.huggingface</groupId><artifactId>tokenizers</artifactId><version>0.38.0</version>
</dependency></dependencies></project>"""
TEXTS = [
    "growing pears",
    "비와 구름, 배나무!",
    "ver. 2.0 한국어 ENGLISH 섞인 Text growing growing",
    "\u1107\u1162\u1102\u1161\u1106\u116e Cafe\u0301",
    "🍐 \u200b ...",
    "[MASK] constructor __proto__",
    " ",
]


def sources() -> dict[str, tuple[str, str]]:
    """Language -> name and text of its program."""
    blocks = re.findall(r"```(js|java|go)\n// (\S+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return {language: (name, text) for language, name, text in blocks}


def run(folder: Path, *command: str) -> str:
    """The tools use their own caches: with an empty one Go compiles its whole library first."""
    environment = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    done = subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True, encoding="utf-8"
    )
    return done.stdout


def javascript(folder: Path) -> Sequence[str]:
    run(folder, "npm", "install", "--silent", "@huggingface/tokenizers@0.2.0")
    return ("node", "query.mjs")


def java(folder: Path) -> Sequence[str]:
    (folder / "pom.xml").write_text(POM, encoding="utf-8")
    run(folder, "mvn", "-q", "dependency:copy-dependencies", "-DoutputDirectory=lib")
    run(folder, "javac", "-cp", "lib/*", "Query.java")
    return ("java", "-cp", f"lib/*{os.pathsep}.", "Query")


def go(folder: Path) -> Sequence[str]:
    run(folder, "go", "mod", "init", "query")
    run(folder, "go", "get", "github.com/sugarme/tokenizer/pretrained@v0.3.0")  # without what its own tests need
    run(folder, "go", "build", "-o", "query", ".")
    return (str(folder / "query"),)


@pytest.mark.e2e
@pytest.mark.network
@pytest.mark.parametrize(
    ("language", "tools", "build"),
    [("js", ["node", "npm"], javascript), ("java", ["javac", "mvn"], java), ("go", ["go"], go)],
)
def test_a_program_of_the_page_makes_the_same_query(
    language: str, tools: list[str], build: Callable[[Path], Sequence[str]], small_bundle: Bundle, tmp_path: Path
) -> None:
    if absent := [tool for tool in tools if shutil.which(tool) is None]:
        pytest.skip(f"not installed: {', '.join(absent)}")
    name, text = sources()[language]
    (tmp_path / name).write_text(text, encoding="utf-8")
    archive = small_bundle.zip_path("tokenizer")
    zipfile.ZipFile(archive).extractall(tmp_path / "files")
    encoder, command = open_query_encoder(archive), build(tmp_path)
    deployment = Deployment("client", "b", "f" * 64, "1", 400, 64, "u2024", None, None)
    assert any(encoder.encode(text) for text in TEXTS) and not encoder.encode(" ")
    for query in TEXTS:
        expected = query_body(deployment, query, encoder.encode(query), size=10)
        printed = json.loads(run(tmp_path, *command, "files", query))
        assert _clauses(printed) == _clauses(expected), query


def _clauses(body: dict[str, dict[str, dict[str, object]]] | None) -> object:
    if body is None:
        return None
    clauses = [clause["rank_feature"] for clause in body["query"]["bool"]["should"]]  # type: ignore[attr-defined]
    return {c["field"]: (c["linear"], pytest.approx(c["boost"], rel=1e-6)) for c in clauses}
