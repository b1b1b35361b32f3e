"""Whether an index can be taken over: it is open and readable, it can be made to refuse writes, and there is room."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from osparse.deployer.adopt.calls import BLOCK
from osparse.deployer.adopt.source_index import Adoption, SourceIndex, read_source
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.preflight.blocks import block_checks
from osparse.deployer.preflight.checks import Check
from osparse.deployer.preflight.requests import Call
from osparse.errors import AccessError, ClusterError, InputError

_READS = ("index.blocks.read",)
_SETTINGS = ("index.blocks.metadata", "index.blocks.read_only", "index.blocks.read_only_allow_delete")
"""With one of these the source can neither be made to refuse writes nor to take them again."""


def source_checks(source: SourceIndex) -> Iterator[Check]:
    """Of an index that :func:`read_source` found open, whole and without routing."""
    api, settings = source.api, source.api.get_index_settings(source.index)
    names = _READS if source.remote else (*_READS, *_SETTINGS)
    if blocks := block_checks(source.index, source.shown, settings, names):
        yield from blocks
        return
    if settings.get(BLOCK) == "true":
        yield Check("note", f"{source.shown} refuses writes already ({BLOCK}) and will go on refusing them")
    documents = api.count(source.index)
    yield Check("ok", f"{source.shown} can be taken over: {documents:,} documents, whole and without routing")


def foreign_index_checks(api: ClusterApi, index: str) -> Iterator[Check]:
    """Of an index that osparse did not make: whether ``osparse deploy --from`` would take it over."""
    try:
        yield from source_checks(read_source(api, Adoption(index)))
    except (AccessError, ClusterError, InputError) as problem:
        yield Check("blocked", f"{index} cannot be taken over: {problem}")


def reading_calls(source: SourceIndex) -> list[Call]:
    """What is asked of the source's own cluster."""
    name = quote(source.index, safe="")
    return [
        Call("POST", f"/{name}/_refresh"),
        Call("POST", f"/{name}/_search", {"size": 0}),
        Call("POST", f"/{name}/_mget", {"ids": ["osparse-preflight"]}),
        Call("GET", f"/{name}/_stats"),
        Call("GET", f"/{name}/_settings"),
        Call("GET", f"/{name}/_mapping"),
    ]


def adopting_calls(source: SourceIndex, new: str) -> list[Call]:
    """What an adoption changes beside the calls of a deploy."""
    own = [Call("PUT", f"/{quote(new, safe='')}/_mapping", {})]
    if source.remote:
        return own
    name = quote(source.index, safe="")
    return [*own, Call("PUT", f"/{name}/_block/write"), Call("PUT", f"/{name}/_settings", {BLOCK: None})]
