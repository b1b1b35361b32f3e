"""The gate of an adoption: nDCG@10 on judged queries, of the old index by the old queries and of the new index."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from osparse.deployer.adopt.source_index import text_fields
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.index.gate import MARGIN, Gate
from osparse.errors import InputError
from osparse.evaluation.measures import NDCG, Benchmark, JudgedSet, open_benchmark, run_depth
from osparse.io.files import read_json
from osparse.opensearch_templates import render
from osparse.opensearch_templates.queries import with_filters
from osparse.retrieval.figures import measure_system
from osparse.retrieval.quality_gate import check_present, ndcg
from osparse.retrieval.systems.cluster_index import language_filter
from osparse.retrieval.systems.cluster_run import cluster_run

TEXT = "{{text}}"
"""What stands for the text of a query in a query template."""


def adoption_gate(
    cluster: Cluster,
    dataset: Path | str,
    source: str,
    *,
    source_cluster: Cluster | None = None,
    query: Path | None = None,
    split: str = "test",
    margin: float = MARGIN,
) -> Gate:
    """What :func:`osparse.deployer.deploy` takes as ``gate`` beside an ``adoption``.

    Args:
        dataset: A dataset directory or a BEIR folder whose documents are in both indices.
        source: The index that is adopted, or an alias of it.
        source_cluster: Where it is; None: ``cluster``.
        query: A JSON file with the search body that the old index is asked with, in which ``{{text}}`` stands for the
            text of the query; None: ``multi_match`` over the text fields of its mapping.
        split: Whose judgements are used.
        margin: nDCG@10 that the new index may lose against the old queries.

    Raises:
        DatasetError: the dataset cannot be read, or has no such split.
        InputError: the template is no search body, or the old index has no text field.
    """
    data = open_benchmark(dataset, split)
    name = f"{data.name} ({split})"
    there = source_cluster or cluster
    found = ClusterApi(there).get_mapping(source) or {}
    old = next(iter(found), source)
    properties = found.get(old, {}).get("mappings", {}).get("properties", {})
    template = read_template(query) if query is not None else _multi_match(old, properties)

    def measure(index: str) -> float:
        if index not in (old, f"{there.url}#{old}"):
            return ndcg(cluster, index, data, name)
        check_present(there, old, data, name)
        return _old_ndcg(there, old, data, template, by_lang=properties.get("lang", {}).get("type") == "keyword")

    return Gate(measure, name, margin)


def read_template(path: Path) -> dict[str, Any]:
    """A search body with :data:`TEXT` in it; raises :class:`InputError` for anything else."""
    raw = read_json(path, InputError)
    if not isinstance(raw, dict) or not isinstance(raw.get("query"), dict) or TEXT not in json.dumps(raw["query"]):
        raise InputError(
            f"{path} must hold a search body, such as "
            f'{{"query": {{"match": {{"title": "{TEXT}"}}}}}}, whose query has {TEXT} where the text of a query belongs'
        )
    if "sort" in raw:
        raise InputError(f'{path} sorts the hits, and nDCG@10 needs them by their score; leave "sort" out')
    return raw


def filled(template: Any, text: str) -> Any:
    """A template with the text of a query in place of every :data:`TEXT`."""
    if isinstance(template, Mapping):
        return {key: filled(value, text) for key, value in template.items()}
    if isinstance(template, Sequence) and not isinstance(template, str):
        return [filled(value, text) for value in template]
    return template.replace(TEXT, text) if isinstance(template, str) else template


def _multi_match(index: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    fields = text_fields(properties)
    if not fields:
        raise InputError(f"{index} has no text field to ask; give the query that it is asked with as `gate_query`")
    return dict(render("query_multi_match", text=TEXT, fields=fields))


def _old_ndcg(cluster: Cluster, index: str, data: Benchmark, template: Mapping[str, Any], *, by_lang: bool) -> float:
    """Mean over the queries of every direction."""
    total = queries = 0.0
    for judged in data.sets:
        bodies = {name: _body(template, text, data, judged, by_lang) for name, text in judged.queries.items()}
        run = cluster_run(cluster, index, bodies, f"query {index} {judged.direction}")
        measures = measure_system(judged, run, [NDCG]).measures
        total += measures.mean(NDCG) * measures.queries
        queries += measures.queries
    return total / queries if queries else 0.0


def _body(
    template: Mapping[str, Any], text: str, data: Benchmark, judged: JudgedSet, by_lang: bool
) -> dict[str, Any] | None:
    if not text.strip():
        return None
    body = {**filled(template, text), "size": run_depth([NDCG])}
    lang = language_filter(data, judged) if by_lang else None
    return with_filters(body, [] if lang is None else [render("filter_lang", lang=lang)])
