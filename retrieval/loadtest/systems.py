"""The systems that are compared: how each searches the same index for the same queries."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from osparse.algorithms.language import UNDETERMINED, guess_language
from osparse.contracts.deployment import Deployment
from osparse.deployer.cluster.client import Cluster, reason_of
from osparse.deployer.cluster.shards import check_shards
from osparse.errors import ClusterError, InputError
from osparse.opensearch_templates import render
from osparse.retrieval.loadtest.open_loop import Sender
from osparse.retrieval.queries import well_formed
from osparse.retrieval.searcher import Searcher
from osparse.retrieval.serving.forms import SearchForms, bm25_fields
from osparse.retrieval.serving.passes import Passes
from osparse.retrieval.serving.settings import Hybrid, Seismic, Setting, TwoPhase

SIZE = 10
"""Hits of each search."""
LEAN = {"_source": False, "track_total_hits": False}
"""Neither the documents nor an exact count of the hits: what is timed is the search."""
SYSTEMS = ("bm25", "sparse", "two-phase", "seismic", "hybrid", "filtered", "deployed")
Body = dict[str, Any]


@dataclass(frozen=True, eq=False)
class LoadSystem:
    """One way to search; its requests are made before the test starts."""

    name: str
    what: str
    queries: int
    """Queries that it can be asked; one without a token it knows is left out."""
    connect: Callable[[Cluster], Sender]
    """A client's connection -> the function that sends the request of a number and reads the answer."""


def available_systems(deployment: Deployment, setting: Setting) -> list[str]:
    """The systems that an index can serve; ``deployed`` where that is none of the others."""
    seismic = deployment.vector == "sparse_vector"
    can = {
        "two-phase": not seismic and not deployment.chunks,
        "sparse": not seismic,
        "seismic": seismic,
        "deployed": setting != Setting() or deployment.two_phase,
    }
    return [name for name in SYSTEMS if can.get(name, True)]


def load_systems(
    searcher: Searcher, names: Sequence[str], texts: Sequence[str], lang: str | None = None
) -> list[LoadSystem]:
    """The systems of these names, all that the index can serve if there are none.

    Args:
        lang: Language of the documents that ``filtered`` searches; None takes the one of each query.

    Raises:
        InputError: a name that is none of :data:`SYSTEMS`, that this index cannot serve, or that is given twice; or
            none of the queries has a token that the system knows.
    """
    possible = available_systems(searcher.deployment, searcher.setting)
    problems = [
        f"{name} is not one of {', '.join(SYSTEMS)}"
        if name not in SYSTEMS
        else f"{name} is not possible here: index {searcher.index} serves {', '.join(possible)}"
        for name in names
        if name not in possible
    ]
    if len(set(names)) < len(names):
        problems.append("a system is named twice")
    if problems:
        raise InputError(f"`system`: {'; '.join(problems)}")
    systems = [_system(searcher, name, texts, lang) for name in names or possible]
    for system in systems:
        if not system.queries:
            raise InputError(f"none of the {len(texts)} queries can be asked of {system.name}: no token is known")
    return systems


def bodies(searcher: Searcher, name: str, texts: Sequence[str], lang: str | None = None) -> list[Body]:
    """The search bodies of a system that takes one request per query."""
    if name == "bm25":
        made = [bm25_body(searcher.deployment, text) for text in texts]
    elif name == "deployed":
        made = [searcher.body(text, size=SIZE) for text in texts]
    else:
        forms = _forms(searcher, name)
        langs = {text: (lang or guess_language(text)) if name == "filtered" else None for text in texts}
        known = [(text, of_lang) for text, of_lang in langs.items() if of_lang != UNDETERMINED]
        made = [forms.body(text, forms.weights(text), size=SIZE, lang=of_lang) for text, of_lang in known]
    return [{**body, **LEAN} for body in made if body is not None]


def bm25_body(deployment: Deployment, text: str) -> Body | None:
    """BM25 on the one field that is analysed for the query's language; None for a text without a character."""
    if not text.strip():
        return None
    own = f"text.{guess_language(text)}"
    fields = [own] if own in bm25_fields(deployment) else ["text"]
    values = {"size": SIZE, "field": deployment.field, "fields": fields}
    return dict(render("query_match_korean_english", **values, text=well_formed(text)))


def _system(searcher: Searcher, name: str, texts: Sequence[str], lang: str | None) -> LoadSystem:
    if name == "hybrid" or (name == "deployed" and not searcher.in_one_request):
        asked = [text for text in texts if searcher.weights(text)]
        setting = searcher.setting if name == "deployed" else hybrid_setting(searcher)
        return LoadSystem(name, str(setting), len(asked), _by_passes(searcher, setting, asked))
    sent = bodies(searcher, name, texts, lang)
    params = {} if name == "deployed" else {"search_pipeline": "_none"}
    documents = "the language of each query" if lang is None else f"language {lang}"
    what = {
        "bm25": "match on the field of the query's language",
        "filtered": f"{_forms(searcher, name).setting}, documents of {documents}",
        "deployed": f"as osparse search sends it: {searcher.setting}",
    }
    described = what.get(name) or str(_forms(searcher, name).setting)
    return LoadSystem(name, described, len(sent), _by_bodies(searcher.index, sent, params))


def hybrid_setting(searcher: Searcher) -> Setting:
    """The fusion that the index records, or the default one."""
    return Setting(hybrid=searcher.setting.hybrid or Hybrid())


def _forms(searcher: Searcher, name: str) -> SearchForms:
    settings = {"two-phase": Setting(two_phase=TwoPhase()), "seismic": Setting(seismic=_seismic(searcher))}
    setting = settings.get(name, Setting(seismic=_seismic(searcher)))
    return SearchForms(searcher.deployment, searcher.encoder, setting, own_weights=True)


def _seismic(searcher: Searcher) -> Seismic | None:
    if searcher.deployment.vector != "sparse_vector":
        return None
    return searcher.setting.seismic or Seismic()


def _by_bodies(index: str, sent: Sequence[Body], params: Mapping[str, str]) -> Callable[[Cluster], Sender]:
    path = f"/{quote(index, safe='')}/_search"
    encoded = [json.dumps(body, ensure_ascii=False).encode("utf-8", "replace") for body in sent]

    def connect(cluster: Cluster) -> Sender:
        def send(number: int) -> None:
            answer = cluster.request("POST", path, params=params, body=encoded[number % len(encoded)])
            check_answer(index, answer.body)

        return send

    return connect


def _by_passes(searcher: Searcher, setting: Setting, asked: Sequence[str]) -> Callable[[Cluster], Sender]:
    """What takes several requests, as osparse itself sends and fuses them."""
    forms = SearchForms(searcher.deployment, searcher.encoder, setting)

    def connect(cluster: Cluster) -> Sender:
        passes = Passes(cluster, searcher.index, forms)
        return lambda number: passes.hits([asked[number % len(asked)]], size=SIZE)

    return connect


def check_answer(index: str, body: Any) -> None:
    """Raises :class:`ClusterError` for an answer with status 200 that lacks hits: a shard failed or time was up."""
    if not isinstance(body, Mapping) or "hits" not in body:
        raise ClusterError(f"{index}: the answer is not that of a search: {reason_of(body)[:100]}")
    if body.get("timed_out"):
        raise ClusterError(f"{index}: the search timed out on the cluster; its hits are not complete")
    check_shards(index, body)
