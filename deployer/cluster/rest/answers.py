"""What the calls share: the cluster they go to, and reading their answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from osparse.deployer.cluster.client import Answer, Cluster


class Calls:
    """Calls to one cluster; errors are those of :meth:`Cluster.request`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster


def ndjson(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A bulk body: one JSON object per line, a newline at the end."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n" for row in rows)


def as_object(answer: Answer) -> dict[str, Any]:
    """The JSON object of an answer; {} where it is none."""
    return answer.body if isinstance(answer.body, dict) else {}


def strings_of(node: object) -> Iterator[str]:
    """Every string value of a JSON object, at any depth."""
    if isinstance(node, Mapping):
        for value in node.values():
            yield from strings_of(value)
    elif isinstance(node, str):
        yield node


def quoted(segment: str) -> str:
    """A name as one segment of a path."""
    return quote(segment, safe="")
