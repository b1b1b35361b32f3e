"""Every body is JSON a person can read, and is filled exactly."""

from __future__ import annotations

import json
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
