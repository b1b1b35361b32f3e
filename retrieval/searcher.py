"""Search a deployed index, and see which tokens each hit matched."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from osparse.contracts.deployment import Deployment, generated_fields
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Cluster
from osparse.deployer.fields.sparse_fields import readable_text
from osparse.deployer.load.read_deployment import query_encoder, read_deployment
from osparse.errors import InputError
from osparse.formula.query_encoder import QueryEncoder
from osparse.retrieval.filters.clauses import Filter, FilterPart, filter_parts
from osparse.retrieval.filters.extras import Extras
from osparse.retrieval.filters.index_fields import IndexFields
from osparse.retrieval.filters.ordering import Sort, checked_after, sort_clauses
from osparse.retrieval.queries import with_language
from osparse.retrieval.serving.forms import SearchForms
from osparse.retrieval.serving.highlights import highlights
from osparse.retrieval.serving.hits import Answer, Hit, note_without_hits, note_without_query
from osparse.retrieval.serving.matches import Matcher, by_token, matcher_of_fields, matches
from osparse.retrieval.serving.passes import Passes
from osparse.retrieval.serving.settings import Feedback, Setting, recorded_setting
from osparse.retrieval.serving.summed import SummedForms, chosen_views


class Searcher:
    """A deployed index with its query encoder, read once for many searches.

    With ``idf`` the queries are weighted by that table instead of the deployed one; documents do not depend on it, so
    nothing has to be indexed again. ``setting`` says how the index is searched; without it, as its ``_meta`` records
    (``osparse tune --apply``), and where that records nothing, by the plain dot product. ``feedback`` joins either.
    ``sparse_fields`` are those to search of an index that has several; without it, all that have a boost.

    Raises:
        ClusterError: there is no such index, or osparse did not deploy it.
        ModelError: ``idf`` is of another vocabulary.
        InputError: ``feedback`` beside a recorded setting that excludes it, or several sparse fields; a name that is no
            sparse field.
    """

    def __init__(
        self,
        cluster: Cluster,
        index: str,
        *,
        idf: Path | None = None,
        setting: Setting | None = None,
        feedback: Feedback | None = None,
        sparse_fields: Sequence[str] | None = None,
    ) -> None:
        self.cluster, self.index = cluster, index
        whole = read_deployment(cluster, index)
        self.has_several_fields = bool(whole.fields)
        """Whether the index has further sparse fields, searched or not."""
        self._generated = generated_fields(whole)
        self.views = chosen_views(whole, index, sparse_fields)
        """Of each sparse field that is searched."""
        self.deployment: Deployment = self.views[0] if len(self.views) == 1 else whole
        self._idf = idf
        self._encoders = {view.fingerprint: self._encoder(view) for view in self.views}
        self.encoder: QueryEncoder = self._encoders[self.views[0].fingerprint]
        self._feedback = feedback
        recorded = Setting() if setting is not None else read_setting(cluster, index)
        self._ignored = recorded if len(self.views) > 1 and not recorded.is_plain_query else None
        chosen = setting if setting is not None else (Setting() if self._ignored is not None else recorded)
        self.setting = chosen if feedback is None else chosen.with_feedback(feedback)
        if not self.setting.is_plain_query:
            self.check_one_field("a search setting (feedback too)")
        self.forms = self._forms(self.setting, own_weights=idf is not None)
        self.passes = Passes(cluster, index, self.forms)

    def text_of(self, source: Mapping[str, Any]) -> str:
        """The text that the searched fields of a document are made of; of several fields, each on a line of its own."""
        if not self.has_several_fields:
            return str(source.get("text") or "")
        return "\n".join(readable_text(view, source) for view in self.views)

    def _encoder(self, view: Deployment) -> QueryEncoder:
        encoder = query_encoder(self.cluster, view)
        return encoder if self._idf is None else encoder.reweighted(self._idf)

    def _forms(self, setting: Setting, *, own_weights: bool) -> SearchForms:
        parts = [SearchForms(view, self._encoders[view.fingerprint], setting, own_weights) for view in self.views]
        if len(parts) == 1:
            return parts[0]
        return SummedForms(parts[0].deployment, self.encoder, setting, own_weights, tuple(parts))

    def check_one_field(self, what: str) -> None:
        """Raises :class:`InputError` where several sparse fields are searched, for what works on one."""
        if len(self.views) > 1:
            fields = ", ".join(view.field for view in self.views)
            raise InputError(f"{what} works on one sparse field, and a search of {self.index} asks {fields}")

    @property
    def in_one_request(self) -> bool:
        """Whether :meth:`body` is the whole search."""
        return self.setting.feedback is None and self.setting.hybrid is None

    def weights(self, text: str) -> dict[str, float]:
        """Raw token -> query weight, as they are sent; without what feedback joins."""
        return self.forms.weights(text)

    @cached_property
    def fields(self) -> IndexFields:
        """What a filter or a sort may name."""
        mapping = ClusterApi(self.cluster).get_mapping(self.index) or {}
        bodies: list[dict[str, Any]] = [body.get("mappings", {}) for body in mapping.values()]
        return IndexFields(bodies[0] if bodies else {}, self.index)

    def parts(self, given: Filter | None) -> list[FilterPart]:
        """The conditions of a filter; raises :class:`InputError` for one that is malformed or names no field."""
        return filter_parts(given, lambda: self.fields)

    def body(
        self, text: str, *, size: int, lang: str | None = None, filter: Filter | None = None
    ) -> dict[str, Any] | None:
        """The search body; of a setting with feedback or fusion the part without these."""
        return self._body(self.forms, text, size, lang, Extras(self.parts(filter)))

    def search(
        self,
        text: str,
        *,
        top: int = 10,
        lang: str | None = None,
        explain: bool = False,
        filter: Filter | None = None,
        sort: Sort | None = None,
        after: Sequence[Any] | None = None,
        fields: Sequence[str] | None = None,
        highlight: bool = False,
        aggregations: Mapping[str, Any] | None = None,
    ) -> Answer:
        """The ``top`` documents with the largest score, or the first by ``sort``.

            searcher.search("video player", filter="price < 100 and brand:acme", sort="price", fields=["brand"])

        Args:
            lang: Only documents of this language.
            explain: Add the matched tokens of each hit.
            filter: Only documents that satisfy this: the filter language, or a clause of the query DSL.
            sort: ``price:asc,released:desc`` or clauses of the query DSL; ``_score`` is the score.
            after: :attr:`Hit.sort` of the last hit of the page before, with the same ``sort``.
            fields: Names or patterns of the fields to return; without them title, text and language.
            highlight: Mark the matched words of each hit's text.
            aggregations: The ``aggs`` of the query DSL, over all documents that match.

        Raises:
            InputError: a malformed filter, a field that the index does not have, ``after`` without ``sort``.
            ClusterError: the cluster refuses the search.
        """
        clauses = sort_clauses(sort, self.fields) if sort else []
        page = checked_after(after, clauses)
        extras = Extras(self.parts(filter), clauses, page, fields, aggregations)
        weights, started = self.weights(text), time.monotonic()
        weighed = [view.field for view in self.views] if explain or highlight else []
        source = extras.source([*weighed, *["text"] * highlight])
        if source is None and self.has_several_fields:
            source = {"excludes": self._generated}
        if self.in_one_request or extras.sort:
            rows, buckets, took = self._in_one_request(text, top, lang, extras, source)
        else:
            inside: dict[str, Any] = {"lang": lang, "filters": extras.filters}
            (rows,) = self.passes.hits([text], size=top, **inside, source=source)
            buckets = self.passes.aggregations(text, aggregations, **inside) if aggregations is not None else {}
            took = int((time.monotonic() - started) * 1000)
        matcher = self.matcher(text) if explain or highlight else None
        hits = [self._hit(row, matcher, extras, highlight) for row in rows]
        return Answer(weights, hits, took, self._note(text, weights, hits, lang, extras), buckets)

    def _in_one_request(
        self, text: str, top: int, lang: str | None, extras: Extras, source: bool | dict[str, Any] | None
    ) -> tuple[list[dict[str, Any]], dict[str, Any], int]:
        """(hits, aggregations, milliseconds that the server took)."""
        body = self._body(self._sorted_forms if extras.sort else self.forms, text, top, lang, extras)
        if body is None:
            return [], {}, 0
        body = extras.added_to(body if source is None else {**body, "_source": source})
        own_pipeline = extras.sort and self.deployment.search_pipeline is not None  # it may add a rescore
        params = {"search_pipeline": "_none"} if own_pipeline else None
        response = ClusterApi(self.cluster).search(self.index, body, params)
        rows = response["hits"]["hits"]
        if not extras.sort:
            rows = sorted(rows, key=lambda row: (-row["_score"], row["_id"]))  # equal scores by id
        return rows, response.get("aggregations", {}), int(response["took"])

    def _body(
        self, forms: SearchForms, text: str, size: int, lang: str | None, extras: Extras
    ) -> dict[str, Any] | None:
        weights = forms.weights(text)
        if not weights:
            return None
        return forms.body(text, weights, size=size, filters=with_language(extras.filters, lang))

    @cached_property
    def _sorted_forms(self) -> SearchForms:
        """Without what orders by scores, as tokens: the server refuses a rescore, the pipeline's too, beside a sort.

        Raises:
            InputError: feedback was asked for, which only changes scores.
        """
        if self._feedback is not None:
            raise InputError("`feedback` changes the scores, and `sort` orders by fields; leave one out")
        plain = replace(self.setting, two_phase=None, feedback=None, hybrid=None)
        return self._forms(plain, own_weights=True)

    def document_weights(self, source: Mapping[str, Any], query: Mapping[str, float]) -> dict[str, float]:
        """Raw token -> weight as the index keeps it, of a document's ``_source``; empty if that holds none.

        Of a document in pieces, those of the piece with the highest score for ``query``, which is the document's score.
        """
        return self.forms.stored(source, query)

    def matcher(self, text: str) -> Matcher:
        """Gives the tokens that a query and a document's ``_source`` share; their contributions add up to the score."""
        if isinstance(self.forms, SummedForms):
            return matcher_of_fields(self.forms.parts, text)
        query = self.weights(text)
        return lambda source: matches(query, self.document_weights(source, query))

    def _hit(self, row: Mapping[str, Any], matcher: Matcher | None, extras: Extras, highlight: bool) -> Hit:
        source = row.get("_source", {})  # an index may not keep it
        shown = {name: str(source.get(name) or "") for name in ("title", "text", "lang")}
        found = matcher(source) if matcher is not None else []
        asked = source if extras.fields is not None else {}
        fields = {name: value for name, value in asked.items() if name not in self._generated}
        marked = None
        if highlight:
            marked = highlights(self.encoder, shown["text"], by_token(found))
        return Hit(row["_id"], float(row["_score"]), **shown, matched=found, fields=fields,
                   sort=list(row.get("sort", [])), highlights=marked)  # fmt: skip

    def _note(
        self, text: str, weights: Mapping[str, float], hits: Sequence[Hit], lang: str | None, extras: Extras
    ) -> str:
        if not weights:
            return note_without_query(text)
        if not hits:
            return note_without_hits(lang, extras)
        if self._ignored is not None:
            return (
                f"several sparse fields are searched, so the recorded search setting is not applied ({self._ignored})"
            )
        if extras.sort and self._sorted_forms.setting != self.setting:
            return f"sorted by fields, so the recorded search setting is not applied ({self.setting})"
        return ""


def read_setting(cluster: Cluster, index: str) -> Setting:
    """The search setting that an index or the index of an alias records; see :func:`recorded_setting`."""
    mapping = ClusterApi(cluster).get_mapping(index) or {}
    metas = [body.get("mappings", {}).get("_meta", {}) for body in mapping.values()]
    return recorded_setting(metas[0], index) if len(metas) == 1 else Setting()


def search(
    cluster: Cluster,
    index: str,
    text: str,
    top: int = 10,
    lang: str | None = None,
    explain: bool = False,
    filter: Filter | None = None,
    sparse_fields: Sequence[str] | None = None,
) -> list[Hit]:
    """The ``top`` hits of one query on a deployed index.

    Args:
        lang: Only documents of this language.
        explain: Add the matched tokens of each hit.
        filter: Only documents that satisfy this, such as "price < 100 and brand:acme"; see :meth:`Searcher.search`,
            which can sort, page and aggregate too.
        sparse_fields: Those to search, of an index that has several; None: all that have a boost.

    Raises:
        InputError: the filter is malformed or names a field that the index does not have.
        ClusterError: there is no such index, osparse did not deploy it, or the cluster does not answer.
    """
    searcher = Searcher(cluster, index, sparse_fields=sparse_fields)
    return searcher.search(text, top=top, lang=lang, explain=explain, filter=filter).hits
