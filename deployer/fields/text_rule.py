"""How the text of a document is made in an index: recorded in its ``_meta``, and done by its ingest pipeline too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from osparse.contracts.deployment import Deployment
from osparse.deployer.cluster.api import ClusterApi
from osparse.errors import InputError
from osparse.opensearch_templates import render
from osparse.rows.row_rules import RowRules
from osparse.rows.text_template import TEXT_FIELD, TextTemplate

SCRIPT = """
StringBuilder text = new StringBuilder();
boolean any = false;
for (int i = 0; i < params.pieces.size(); i++) {
  String piece = params.pieces[i];
  if (i % 2 == 0) { text.append(piece); continue; }
  def value = ctx;
  if (ctx.containsKey(piece)) { value = ctx[piece]; }
  else { for (String step : piece.splitOnToken('.')) { value = value instanceof Map ? value[step] : null; } }
  if (value == null) { continue; }
  any = true;
  boolean first = true;
  for (def one : value instanceof List ? value : [value]) {
    if (one == null) { continue; }
    if (one instanceof Map || one instanceof List || one instanceof Float || one instanceof Double) {
      throw new IllegalArgumentException(piece + ' is part of the text and must be a text or a whole number');
    }
    if (!first) { text.append(' '); }
    text.append(String.valueOf(one));
    first = false;
  }
}
if (any) { ctx[params.target] = text.toString().trim(); }
""".strip()
"""Painless; :meth:`TextTemplate.text_of` in another language."""


def compose_processors(template: str | None, target: str = TEXT_FIELD) -> list[dict[str, Any]]:
    """What an ingest pipeline does before it encodes the field ``target``; nothing without a template."""
    if template is None:
        return []
    made = TextTemplate.parse(template)
    body = render(
        "ingest_compose_text",
        text_field=target,
        template=template,
        pieces=[*made.pieces],
        source=SCRIPT,
    )
    return list(body["processors"])


def variant_of(template: str | None) -> str:
    """Names the pipeline of a template."""
    return f"-text{TextTemplate.parse(template).short}" if template is not None else ""


def settled(api: ClusterApi, index: str, deployment: Deployment, asked: TextTemplate | None) -> Deployment:
    """The deployment of an index as it is to be loaded: with the template that it records, or the one asked for.

    A template that is asked for is recorded in an index that holds no document yet.

    Raises:
        InputError: the index has documents whose text was made otherwise, or a field that encodes its text by itself.
    """
    if asked is None or str(asked) == deployment.text_template:
        return deployment
    problem = _problem(api, index, deployment)
    if problem is not None:
        raise InputError(f"`template` {str(asked)!r} cannot be used for {index}: {problem}")
    return _recorded(api, index, deployment, asked)


def with_template_of(deployment: Deployment, rules: RowRules) -> RowRules:
    """The rules with the template that the deployment records; raises :class:`InputError` for another text field."""
    recorded = deployment.text_template
    if recorded is None or rules.template is not None:
        return rules
    template = TextTemplate.parse(recorded)
    if rules.text_field is not None and template.fields != (rules.text_field,):
        raise InputError(
            f"`text_field` is {rules.text_field}, and the index makes its texts with the template {recorded!r}; leave "
            "it out"
        )
    return replace(rules, text_field=None, template=template)


def _problem(api: ClusterApi, index: str, deployment: Deployment) -> str | None:
    if deployment.vector == "semantic":
        return "its field `field=semantic` encodes the field text as it is; load rows that have a text"
    if deployment.fields:
        return "it has further sparse fields, so that its text is made as at its deploy; give the template there"
    if not api.count(index):
        return None
    made = deployment.text_template
    how = f"with the template {made!r}" if made is not None else "from the field text"
    return f"it holds documents whose text was made {how}; use that, or deploy under another name"


def _composes(processor: dict[str, Any]) -> bool:
    """Whether it is the script that makes the text."""
    return "pieces" in processor.get("script", {}).get("params", {})


def _recorded(api: ClusterApi, index: str, deployment: Deployment, asked: TextTemplate) -> Deployment:
    template, pipeline = str(asked), deployment.ingest_pipeline
    if pipeline is not None:
        body = api.get_ingest_pipeline(pipeline) or {}
        encoders = [one for one in body.get("processors", []) if not _composes(one)]
        before = variant_of(deployment.text_template)
        pipeline = pipeline.removesuffix(before) + variant_of(template)
        api.put_ingest_pipeline(pipeline, {**body, "processors": [*compose_processors(template), *encoders]})
    changed = replace(deployment, text_template=template, ingest_pipeline=pipeline)
    meta = (api.get_mapping(index) or {}).get(index, {}).get("mappings", {}).get("_meta", {})
    api.put_mapping(index, render("index_meta", meta={**meta, **changed.to_meta()}))
    if pipeline is not None:
        api.put_index_settings(index, {"index.default_pipeline": pipeline})
    return changed
