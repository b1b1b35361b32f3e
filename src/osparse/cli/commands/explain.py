"""osparse explain."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from osparse.cli.commands._cluster import cluster_options
from osparse.cli.commands._common import command, echo

if TYPE_CHECKING:
    from osparse.deployer import Cluster
    from osparse.retrieval import Explanation

EXAMPLES = """
osparse explain --cluster http://localhost:9210 --index products --document vlc:en "동영상 재생기"
"""


@command("explain", examples=EXAMPLES)
@cluster_options
@click.option("--index", required=True, metavar="NAME", help="The alias it was deployed under.")
@click.option("--document", required=True, metavar="ID", help="The document to compare with.")
@click.option("--expansions", type=click.IntRange(0), default=20, show_default=True,
              help="How many of the document's other weights to show.")  # fmt: skip
@click.argument("text")
def explain_command(cluster: Cluster, index: str, document: str, expansions: int, text: str) -> None:
    """Show why a document matches the query TEXT, or does not, token by token."""
    from osparse.retrieval import explain
    from osparse.retrieval.queries import well_formed

    text = well_formed(text)
    found = explain(cluster, index, document, text, expansions=expansions)
    echo(_result(found, text), lambda: "\n".join(_lines(found, text)))


def _result(found: Explanation, text: str) -> dict[str, Any]:
    matched = [{**m._asdict(), "from": _origin(found, m.token)} for m in found.matched]
    return {"query": text, **asdict(found), "matched": matched, "literal": sorted(found.literal)}


def _lines(found: Explanation, text: str) -> list[str]:
    shown = " ".join(f"{found.title} {found.text}".split())
    lines = [
        f"query     {text}",
        f"document  {found.id} ({found.lang or 'no language'}, {found.non_zeros} non-zeros): {shown[:150]}",
        f"score     {found.score:.4f}",
        "",
        "in both: query weight x document weight = contribution",
        *(
            f"  {m.query_weight:7.3f} x {m.document_weight:6.3f} = {m.contribution:8.3f}  {m.token}  "
            f"({_origin(found, m.token)})"
            for m in found.matched
        ),
    ]
    if not found.matched:
        lines.append("  none: the document does not match this query")
    if found.query_only:
        lines += ["", "in the query only: the document was not expanded with them"]
        lines += [f"  {weight:7.3f}  {token}" for token, weight in found.query_only]
    if found.document_top:
        lines += ["", "the document's largest other weights"]
        lines += [f"  {weight:7.3f}  {token}  ({_origin(found, token)})" for token, weight in found.document_top]
    return lines


def _origin(found: Explanation, token: str) -> str:
    return "in its text" if token in found.literal else "expansion"


command = explain_command
