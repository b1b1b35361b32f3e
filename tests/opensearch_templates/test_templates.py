"""Every body is JSON a person can read, and is filled exactly."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from osparse import opensearch_templates
from osparse.errors import InputError
from osparse.opensearch_templates import names, placeholders, render, source


@pytest.mark.parametrize("name", names())
def test_every_template_renders_to_json(name: str) -> None:
    values = {slot: "x" for slot in placeholders(name)}
    rendered = json.dumps(render(name, **values))
    assert "{{" not in rendered and json.loads(rendered)
    assert len(source(name).splitlines()) > 2 and source(name).endswith("}\n"), "laid out for a reader"


def test_there_is_one_file_per_body_and_none_else() -> None:
    folder = Path(str(opensearch_templates.__file__)).parent
    assert {path.stem for path in folder.glob("*.json")} == set(names()) and len(names()) > 10


def test_a_placeholder_takes_any_json_and_keeps_its_type() -> None:
    body = render("query_neural_sparse_tokens", size=3, field="emb", tokens={"a.b": 1.5})
    assert body["size"] == 3 and body["query"]["neural_sparse"] == {"emb": {"query_tokens": {"a.b": 1.5}}}


def test_a_value_is_never_read_as_a_template() -> None:
    body = render("query_neural_sparse_text", size=1, field="emb", text='{{field}} "quoted"')
    assert body["query"]["neural_sparse"]["emb"]["query_text"] == '{{field}} "quoted"'


def test_wrong_values() -> None:
    with pytest.raises(InputError, match="text"):
        render("query_neural_sparse_text", size=1, field="emb")
    with pytest.raises(InputError, match="other"):
        render("query_neural_sparse_text", size=1, field="emb", text="t", other=1)
    with pytest.raises(InputError, match="not JSON"):
        render("query_neural_sparse_text", size=float("nan"), field="emb", text="t")
    with pytest.raises(InputError, match="must be a string"):
        render("query_neural_sparse_text", size=1, field=2, text="t")
    with pytest.raises(InputError, match="no template 'nosuch'"):
        render("nosuch")


CLAUSES = {"bool", "match", "multi_match", "term", "terms", "ids", "nested", "hybrid", "function_score", "query_string"}
CLAUSES |= {"neural_sparse", "rank_feature", "exists", "prefix", "range", "simple_query_string", "script_score"}
PROCESSORS = {"sparse_encoding", "text_chunking", "neural_query_enricher", "normalization-processor"}
PROCESSORS |= {"neural_sparse_two_phase_processor", "score-ranker-processor", "remove", "set"}
MAPPING = {"properties", "_meta", "_routing", "dynamic", "dynamic_templates"}
PACKAGES = ("deployer", "retrieval", "opensearch_templates", "src/osparse")


def _bodies_in_code(tree: ast.AST) -> Iterator[ast.Dict]:
    """Dictionary displays that spell out a query clause, a processor or a part of a mapping."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and (
                    (key.value in CLAUSES | PROCESSORS and isinstance(value, ast.Dict)) or key.value in MAPPING
                ):
                    yield node


def test_every_mapping_pipeline_and_query_is_a_template() -> None:
    """A scroll, a count or an alias call is no body to paste and may stand in the code; other engines have their own."""
    root = Path(__file__).parents[2]
    inline = [
        f"{path.relative_to(root)}:{node.lineno}"
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
        if "integrations" not in path.parts
        for node in _bodies_in_code(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not inline
    found = _bodies_in_code(ast.parse('body = {"query": {"term": {"kind": "bundle"}}, "mappings": {"_meta": meta}}'))
    assert len([*found]) == 2, "the search sees them"


def test_every_template_is_used() -> None:
    root = Path(__file__).parents[2]
    code = "".join(p.read_text(encoding="utf-8") for package in PACKAGES for p in (root / package).rglob("*.py"))
    generated = {"search_normalise", "search_rrf"}
    assert [name for name in names() if f'"{name}"' not in code and name not in generated] == []
