"""``workload.json``: what OpenSearch Benchmark creates, loads and searches, in its own format (version 2)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from osparse.io.files import pretty_json

VERSION = 2
DOCUMENTS = "documents.json"
INDEX_BODY = "index.json"
PLUGIN = "workload.py"
"""The name under which OpenSearch Benchmark looks for a workload's own code."""
PARAM_SOURCE = "osparse-queries"
_NUMBERS = {"bulk_size": 256, "bulk_clients": 1, "search_clients": 1, "warmup_iterations": 50, "iterations": 500}
"""Workload parameters and what they are unless the user gives others."""


def queries_file(system: str) -> str:
    return f"queries-{system}.json"


def specification(name: str, description: str, systems: Sequence[str], documents: Mapping[str, int]) -> dict[str, Any]:
    """The workload as JSON data; numbers that the user may set are strings like ``{{ iterations }}`` in it.

    Args:
        name: Of the index that it creates.
        documents: ``document-count``, ``compressed-bytes`` and ``uncompressed-bytes`` of the documents file.
    """
    corpus = {"source-file": f"{DOCUMENTS}.bz2", "includes-action-and-meta-data": True, **documents}
    loading: list[dict[str, Any]] = [
        {"operation": {"operation-type": "delete-index", "index": name}},
        {"operation": {"operation-type": "create-index", "index": name}},
        {"operation": "documents", "clients": "{{ bulk_clients }}"},
        {"operation": {"operation-type": "refresh", "index": name}},
        {"operation": {"operation-type": "force-merge", "index": name, "max-num-segments": 1}},
    ]
    return {
        "version": VERSION,
        "description": description,
        "indices": [{"name": name, "body": INDEX_BODY}],
        "corpora": [{"name": name, "documents": [corpus]}],
        "operations": [
            {"name": "documents", "operation-type": "bulk", "bulk-size": "{{ bulk_size }}"},
            *(_search(name, system) for system in systems),
        ],
        "test_procedures": [
            {
                "name": "load-and-search",
                "description": "Creates the index, loads the documents and searches it",
                "default": True,
                "schedule": [*loading, *map(_searched, systems)],
            },
            {
                "name": "search",
                "description": "Searches the index that load-and-search made",
                "schedule": [*map(_searched, systems)],
            },
        ],
    }


def as_template(data: Mapping[str, Any]) -> str:
    """The text of ``workload.json``: numbers become template variables with defaults, and a rate may be given."""
    text = pretty_json(data)
    for variable, default in _NUMBERS.items():
        text = text.replace(f'"{{{{ {variable} }}}}"', f"{{{{ {variable} | default({default}) }}}}")
    rate = '{% if target_throughput is defined %}"target-throughput": {{ target_throughput }},{% endif %}'
    return text.replace('"target-throughput": "{{ target_throughput }}",', rate)


def as_raw(data: Mapping[str, Any]) -> str:
    """JSON that the templates of OpenSearch Benchmark leave as it is, whatever braces are in it."""
    text = json.dumps(data, ensure_ascii=True, indent=2)
    return "{% raw %}" + text.replace("{%", "{\\u0025") + "{% endraw %}\n"


def _search(name: str, system: str) -> dict[str, Any]:
    return {
        "name": system,
        "operation-type": "search",
        "index": name,
        "param-source": PARAM_SOURCE,
        "queries": queries_file(system),
    }


def _searched(system: str) -> dict[str, Any]:
    return {
        "operation": system,
        "target-throughput": "{{ target_throughput }}",
        "clients": "{{ search_clients }}",
        "warmup-iterations": "{{ warmup_iterations }}",
        "iterations": "{{ iterations }}",
    }
