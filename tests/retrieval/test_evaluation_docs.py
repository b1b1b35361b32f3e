"""docs/evaluation.md: its files are written, its commands run, and what they print is what the page shows."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from lookup_bundle import make_lookup_bundle
from mlcommons_server import mlcommons_server

from osparse.cli.main import main
from osparse.deployer import deploy, index_documents, open_cluster

PAGE = Path(__file__).resolve().parents[2] / "docs" / "evaluation.md"
BLOCK = re.compile(r'```(\w+)(?: title="([^"]+)")?\n(.*?)```', re.DOTALL)
URL = "http://localhost:9200"
OUTPUT = "output"


def filled(page: str, folder: Path) -> str:
    """The page with every ``output`` block replaced by what the command before it prints in ``folder``."""
    with contextlib.chdir(folder), served(page) as url:
        printed = [""]

        def replaced(block: re.Match[str]) -> str:
            language, title, content = block.groups()
            if title == OUTPUT:
                return f'```{language} title="{OUTPUT}"\n{printed[-1]}```'
            if title is not None:
                Path(title).parent.mkdir(parents=True, exist_ok=True)
                Path(title).write_text(content, encoding="utf-8")
            elif language == "sh":
                printed.append("".join(run(line.replace(URL, url)) for line in commands(content)))
            return block[0]

        return BLOCK.sub(replaced, page)


def commands(content: str) -> list[str]:
    return [line for line in content.replace("\\\n", " ").splitlines() if line.startswith("osparse ")]


def run(line: str) -> str:
    stdout = io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(io.StringIO()):
        with pytest.raises(SystemExit) as stopped:
            main(["--quiet", *shlex.split(line)[1:]])
    assert not stopped.value.code, f"{line}: exit code {stopped.value.code}"
    return stdout.getvalue()


@contextlib.contextmanager
def served(page: str) -> Iterator[str]:
    """A server with the page's documents behind a bundle whose weights are a random table."""
    documents = next(content for _, title, content in BLOCK.findall(page) if title == "documents.jsonl")
    with mlcommons_server(plugins=()) as server:
        cluster = open_cluster(server.url)
        Path("bundle").mkdir()
        deploy(make_lookup_bundle(Path("bundle")), cluster, "products", mode="client")
        Path("documents.jsonl").write_text(documents, encoding="utf-8")
        assert index_documents(cluster, "products", [Path("documents.jsonl")]).failed == 0
        yield server.url


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    logging.getLogger("osparse").handlers.clear()


def test_the_page_shows_what_is_printed(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    page = PAGE.read_text(encoding="utf-8")
    (tmp_path / "work").mkdir()
    assert page.count(f'title="{OUTPUT}"') >= 5
    assert filled(page, tmp_path / "work") == page
    assert not os.path.exists("to-judge.csv"), "nothing is written beside the page"
