"""``osparse search``: search a deployed index."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from osparse.cli.commands._cluster import cluster_options
from osparse.cli.commands._common import FOLDER, command, echo
from osparse.cli.commands._feedback import feedback_option

if TYPE_CHECKING:
    from osparse.deployer import Cluster
    from osparse.retrieval.searcher import Answer, Match
    from osparse.retrieval.serving.settings import Feedback

SHOWN = 110
"""Characters of a document shown."""

EXAMPLES = """
osparse search --cluster http://127.0.0.1:9210 --index quickstart "동영상 편집기"
osparse search --cluster http://127.0.0.1:9210 --index quickstart --lang en --top 3 --explain "동영상 편집기"
osparse search --cluster http://127.0.0.1:9210 --index quickstart --idf build/idf-november.json "동영상 편집기"
osparse search --cluster http://127.0.0.1:9210 --index quickstart --feedback documents=3,share=0.2 "동영상 편집기"
"""


@command("search", examples=EXAMPLES)
@cluster_options
@click.option("--index", required=True, metavar="NAME", help="The alias it was deployed under.")
@click.option("--top", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Hits to show.")
@click.option("--lang", metavar="CODE", help="Only documents of this language, such as ko.")
@click.option("--explain", is_flag=True, help="Show the matched tokens: query weight x document weight.")
@click.option("--idf", type=FOLDER, help="Take query weights from this idf.json instead of the deployed one.")
@feedback_option
@click.argument("text")
def search_command(
    cluster: Cluster,
    index: str,
    top: int,
    lang: str | None,
    explain: bool,
    idf: Path | None,
    feedback: Feedback | None,
    text: str,
) -> None:
    """Search a deployed index for TEXT, which is only tokenised and looked up: no model is called."""
    from osparse.retrieval.queries import well_formed
    from osparse.retrieval.searcher import Searcher

    text = well_formed(text)
    answer = Searcher(cluster, index, idf=idf, feedback=feedback).ask(text, top=top, lang=lang, explain=explain)
    hits = [{**asdict(hit), "matched": [match._asdict() for match in hit.matched]} for hit in answer.hits]
    result = {"text": text, "query": answer.query, "hits": hits, "took_ms": answer.took_ms, "note": answer.note}
    echo(result, lambda: "\n".join(_lines(answer, text, explain)))


def _lines(answer: Answer, text: str, explain: bool) -> list[str]:
    if not answer.hits:
        return [f"no hits: {answer.note}"]
    lines = [f"{text}   ({len(answer.hits)} hits, {answer.took_ms} ms)"]
    for rank, hit in enumerate(answer.hits, start=1):
        shown = " ".join(f"{hit.title} {hit.text}".split())
        cut = shown if len(shown) <= SHOWN else shown[: SHOWN - 1] + "\u2026"
        lines.append(f"{rank:>3}. {hit.score:8.3f}  {hit.id}  {cut}")
        if explain:
            lines.append(f"{'':15}{_matched(hit.matched)}")
    return lines


def _matched(matched: list[Match]) -> str:
    return "  ".join(
        f"{m.token} {m.contribution:.2f} ({m.query_weight:.2f} x {m.document_weight:.2f})" for m in matched
    )


command = search_command
