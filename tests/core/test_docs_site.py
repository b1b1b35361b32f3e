"""The documentation site is whole: every page is in its navigation, every public name in its reference, every link leads
somewhere, and the example of its first page runs. ``make docs`` builds it and fails on warnings."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import world
import yaml
from mlcommons_server import mlcommons_server

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.encoders.torch_encoder import TextEncoder
from osparse.formula.lexicon import load_tokenizer
from osparse.formula.query_encoder import QueryEncoder

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def navigation(items: list[Any]) -> list[str]:
    pages: list[str] = []
    for item in items:
        for value in item.values() if isinstance(item, dict) else [item]:
            pages += navigation(value) if isinstance(value, list) else [value]
    return pages


def config() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    return loaded


def test_every_page_is_in_the_navigation_once() -> None:
    assert sorted(navigation(config()["nav"])) == PAGES


def test_every_package_has_a_reference_page() -> None:
    shown = {name for page in PAGES for name in re.findall(r"^::: (\S+)", (DOCS / page).read_text(), re.MULTILINE)}
    packages = {"osparse", *(f"osparse.{stub.parent.name}" for stub in ROOT.glob("*/__init__.pyi"))}
    assert packages | {"osparse.opensearch_templates", "osparse.errors"} <= shown


def headings(page: Path) -> set[str]:
    """Anchors of a page, as its site makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}


@pytest.mark.parametrize("page", [*PAGES, "../README.md", "../README.ko.md", "../CONTRIBUTING.md"])
def test_every_link_leads_somewhere(page: str) -> None:
    text = re.sub(r"^```.*?^```$", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = ((DOCS / page).parent / path).resolve() if path else DOCS / page
        assert target.exists(), link
        if not page.startswith(".."):
            assert target.is_relative_to(DOCS), f"{link}: the site has no page outside docs/"
        if anchor:
            assert anchor in headings(target), link


def documented_functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions and methods that the reference shows: of the public names, and of the modules its pages name."""
    stubs = [*ROOT.glob("*/__init__.pyi"), ROOT / "src" / "osparse" / "__init__.pyi"]
    public = set(re.findall(r'"(\w+)"', "\n".join(stub.read_text(encoding="utf-8") for stub in stubs)))
    pages = "\n".join((DOCS / page).read_text(encoding="utf-8") for page in PAGES)
    modules = {
        name.partition("osparse.")[2].replace(".", "/") for name in re.findall(r"^::: (\S+)", pages, re.MULTILINE)
    }
    for package in ("corpus", "trainer", "packager", "deployer", "retrieval", "opensearch_templates", "src/osparse"):
        for path in (ROOT / package).rglob("*.py"):
            whole = path.relative_to(ROOT).as_posix().removeprefix("src/osparse/").removesuffix(".py") in modules
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and (whole or node.name in public):
                    yield from ((f"{path}:{f.lineno}", f) for f in ast.walk(node) if isinstance(f, ast.FunctionDef))


def test_every_documented_parameter_is_one() -> None:
    """An entry under "Args:" begins with one parameter's name: another form is a warning of the site."""
    seen = 0
    for where, node in documented_functions():
        names = {argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
        arguments = (ast.get_docstring(node) or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
        for entry in re.findall(r"^ {4}(\S[^:\n]*):", arguments, re.MULTILINE):
            seen += 1
            assert entry in names, f"{where}: {entry!r} is not a parameter of {node.name}"
    assert seen > 50


def test_the_example_of_the_first_page_runs(
    tmp_path: Path, model: Model, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(model.path, "build/quickstart/model")
    shutil.copytree(dataset.path, "build/quickstart/dataset")
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "index.md").read_text(encoding="utf-8"), re.DOTALL)
    with mlcommons_server(plugins=()) as server:
        assert code.count("http://127.0.0.1:9210") == 1 and code.count("동영상 편집기") == 1
        code = code.replace("http://127.0.0.1:9210", server.url).replace("동영상 편집기", world.RECORDS[0][2])
        exec(compile(code, "docs/index.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 3, printed
    documents = dict(dataset.documents.select("id", "text").collect().iter_rows())
    vectors = dict(zip(documents, TextEncoder.open(model).encode(list(documents.values())), strict=True))
    asked = QueryEncoder(load_tokenizer(model.path / "tokenizer.json"), model.lexicon).ids(world.RECORDS[0][2])
    weights = {model.lexicon.tokens[i]: float(model.lexicon.idf[i]) for i in asked}
    for line in printed:
        name, score = line.split()
        expected = sum(weight * vectors[name].get(token, 0.0) for token, weight in weights.items())
        assert float(score) == pytest.approx(expected, rel=2**-8)  # the index keeps 9 significant bits
