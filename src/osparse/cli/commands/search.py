"""``osparse search``: search a deployed index."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from osparse.cli.commands._cluster import cluster_options
from osparse.cli.commands._common import FOLDER, command, echo
from osparse.cli.commands._feedback import feedback_option
from osparse.cli.commands._filter import JsonOrFile, both_filters, filter_options
from osparse.cli.commands._sparse_fields import sparse_fields_option
from osparse.errors import InputError

if TYPE_CHECKING:
    from osparse.deployer import Cluster
    from osparse.retrieval.serving.hits import Answer, Hit
    from osparse.retrieval.serving.matches import Match
    from osparse.retrieval.serving.settings import Feedback

SHOWN = 110
"""Characters of a document shown."""

EXAMPLES = """
osparse search --cluster http://127.0.0.1:9210 --index quickstart "동영상 편집기"
osparse search --cluster http://127.0.0.1:9210 --index quickstart --lang en --top 3 --explain "동영상 편집기"
osparse search --cluster http://127.0.0.1:9210 --index quickstart --idf build/idf-november.json "동영상 편집기"
osparse search --cluster http://127.0.0.1:9210 --index quickstart --feedback documents=3,share=0.2 "동영상 편집기"
osparse search --cluster http://127.0.0.1:9210 --index products --filter 'price < 100 and brand:acme' "red shoes"
osparse search --cluster http://127.0.0.1:9210 --index products --sort price --fields brand,price "red shoes"
osparse search --cluster http://127.0.0.1:9210 --index products --sort price --after '[19.9, "p17"]' "red shoes"
"""


@command("search", examples=EXAMPLES)
@cluster_options
@click.option("--index", required=True, metavar="NAME", help="The alias it was deployed under.")
@click.option("--top", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Hits to show.")
@click.option("--lang", metavar="CODE", help="Only documents of this language, such as ko.")
@click.option("--explain", is_flag=True, help="Show the matched tokens: query weight x document weight.")
@click.option("--idf", type=FOLDER, help="Take query weights from this idf.json instead of the deployed one.")
@feedback_option
@filter_options
@click.option("--sort", metavar="FIELD[:asc|:desc],...",
              help="Order by fields, such as price:asc,released:desc or _score; by score if left out.")  # fmt: skip
@click.option("--after", type=JsonOrFile(), metavar="JSON|FILE",
              help='With --sort: the page after the hit with these sort values, such as [19.9, "p17"].')  # fmt: skip
@click.option("--fields", metavar="NAME,...", help="Show these fields of each hit, such as brand,price or spec.*.")
@click.option("--highlight", is_flag=True, help="Mark the matched words of each hit; expansions are shown apart.")
@click.option("--aggs", type=JsonOrFile(), metavar="JSON|FILE",
              help='Aggregations of the query DSL, such as {"brands": {"terms": {"field": "brand"}}}.')  # fmt: skip
@sparse_fields_option
@click.argument("text")
def search_command(
    cluster: Cluster,
    index: str,
    top: int,
    lang: str | None,
    explain: bool,
    idf: Path | None,
    feedback: Feedback | None,
    filter: str | None,
    filter_json: Any,
    sort: str | None,
    after: Any,
    fields: str | None,
    highlight: bool,
    aggs: Any,
    sparse_fields: tuple[str, ...],
    text: str,
) -> None:
    """Search a deployed index for TEXT, which is only tokenised and looked up: no model is called."""
    from osparse.retrieval.queries import well_formed
    from osparse.retrieval.searcher import Searcher

    if after is not None and not isinstance(after, list):
        raise InputError(f'--after must be a list, such as [19.9, "p17"], got {json.dumps(after)}')
    if aggs is not None and not isinstance(aggs, dict):
        raise InputError(f"--aggs must be an object, got {json.dumps(aggs)}")
    names = [name.strip() for name in fields.split(",") if name.strip()] if fields is not None else None
    text = well_formed(text)
    answer = Searcher(cluster, index, idf=idf, feedback=feedback, sparse_fields=sparse_fields or None).search(
        text, top=top, lang=lang, explain=explain, filter=both_filters(filter, filter_json), sort=sort, after=after,
        fields=names, highlight=highlight, aggregations=aggs,
    )  # fmt: skip
    hits = [{**asdict(hit), "matched": [match._asdict() for match in hit.matched]} for hit in answer.hits]
    result = {"text": text, "query": answer.query, "hits": hits, "took_ms": answer.took_ms, "note": answer.note,
              "aggregations": answer.aggregations}  # fmt: skip
    echo(result, lambda: "\n".join(_lines(answer, text, explain)))


def _lines(answer: Answer, text: str, explain: bool) -> list[str]:
    if not answer.hits:
        return [f"no hits: {answer.note}", *_aggregation_lines(answer)]
    lines = [f"{text}   ({len(answer.hits)} hits, {answer.took_ms} ms)", *([answer.note] if answer.note else [])]
    for rank, hit in enumerate(answer.hits, start=1):
        shown = " ".join(_fields_shown(hit) if hit.fields else f"{hit.title} {hit.text}".split())
        cut = shown if len(shown) <= SHOWN else shown[: SHOWN - 1] + "\u2026"
        lines.append(f"{rank:>3}. {hit.score:8.3f}  {hit.id}  {cut}")
        if hit.highlights is not None:
            lines += [f"{'':15}{fragment}" for fragment in hit.highlights.fragments]
            if hit.highlights.expansions:
                lines.append(f"{'':15}expansions: {' '.join(hit.highlights.expansions)}")
        if explain:
            lines.append(f"{'':15}{_matched(hit.matched)}")
    if (last := answer.hits[-1]).sort:
        lines.append(f"the next page: --after '{json.dumps(last.sort, ensure_ascii=False)}'")
    return [*lines, *_aggregation_lines(answer)]


def _fields_shown(hit: Hit) -> list[str]:
    return [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in hit.fields.items()]


def _aggregation_lines(answer: Answer) -> list[str]:
    return [f"{name}: {json.dumps(buckets, ensure_ascii=False)}" for name, buckets in answer.aggregations.items()]


def _matched(matched: list[Match]) -> str:
    return "  ".join(
        f"{m.token} {m.contribution:.2f} ({m.query_weight:.2f} x {m.document_weight:.2f}"
        f"{f' in {m.field}' if m.field else ''})"
        for m in matched
    )


command = search_command
