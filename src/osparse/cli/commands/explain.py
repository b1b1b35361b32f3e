"""osparse explain."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from osparse.cli.commands._cluster import cluster_options
from osparse.cli.commands._common import FOLDER, command, echo
from osparse.cli.commands._filter import both_filters, filter_options
from osparse.cli.commands._sparse_fields import sparse_fields_option
from osparse.cli.parameter_names import with_flags
from osparse.errors import InputError

if TYPE_CHECKING:
    from osparse.deployer import Cluster
    from osparse.retrieval import Contrast, Explanation, WhyNot
    from osparse.retrieval.why_not import NeededExpansion

EXAMPLES = """
osparse explain --cluster http://localhost:9210 --index products --document vlc:en "동영상 재생기"
osparse explain --cluster http://localhost:9210 --index products --document vlc:en --against mpv:en "동영상 재생기"
osparse explain --cluster http://localhost:9210 --index products --document vlc:en --why-not --lang ko "video player"
osparse explain --cluster http://localhost:9210 --index products --document p17 --filter 'price < 100' "red shoes"
"""
SHOWN = 150
"""Characters of a text shown."""


@command("explain", examples=EXAMPLES)
@cluster_options
@click.option("--index", required=True, metavar="NAME", help="The alias it was deployed under.")
@click.option("--document", required=True, metavar="ID", help="The document to compare with.")
@click.option("--expansions", type=click.IntRange(0), default=20, show_default=True,
              help="How many of the document's other weights to show.")  # fmt: skip
@click.option("--against", metavar="ID", help="Another document: why is the first one above it, or below?")
@click.option("--why-not", is_flag=True, help="Why is the document not found: rank, filter, missing tokens, cut text.")
@click.option("--lang", metavar="CODE", help="With --why-not: the language that the search was restricted to.")
@filter_options
@click.option("--bundle", type=FOLDER, help="With --why-not: the deployed bundle, where the cluster encodes by itself.")
@sparse_fields_option
@click.argument("text")
def explain_command(
    cluster: Cluster,
    index: str,
    document: str,
    expansions: int,
    against: str | None,
    why_not: bool,
    lang: str | None,
    filter: str | None,
    filter_json: Any,
    bundle: Path | None,
    sparse_fields: tuple[str, ...],
    text: str,
) -> None:
    """Show why a document matches the query TEXT, or does not, token by token."""
    from osparse.retrieval import explain
    from osparse.retrieval.queries import well_formed

    if not why_not and (lang is not None or bundle is not None):
        raise InputError("--lang and --bundle go with --why-not; give it too")
    text = well_formed(text)
    explanation = explain(
        cluster, index, document, text, expansions=expansions, against=against, why_not=why_not, lang=lang,
        filter=both_filters(filter, filter_json), bundle=bundle, sparse_fields=sparse_fields or None,
    )  # fmt: skip
    echo(_result(explanation, text), lambda: "\n".join(_lines(explanation, text)))


def _result(explanation: Explanation, text: str) -> dict[str, Any]:
    matched = [{**m._asdict(), "from": _origin(explanation, m.token)} for m in explanation.matched]
    result = {"query": text, **asdict(explanation), "matched": matched, "literal": sorted(explanation.literal)}
    if explanation.against is not None:
        result["against"]["tokens"] = [token._asdict() for token in explanation.against.tokens]
    return result


def _lines(explanation: Explanation, text: str) -> list[str]:
    lines = [
        f"query     {text}",
        f"document  {explanation.id} ({explanation.lang or 'no language'}, {explanation.non_zeros} non-zeros): "
        f"{_short(f'{explanation.title} {explanation.text}')}",
        f"score     {explanation.score:.4f}{_shares(explanation)}",
        "",
        "in both: query weight x document weight = contribution",
        *(
            f"  {m.query_weight:7.3f} x {m.document_weight:6.3f} = {m.contribution:8.3f}  {m.token}  "
            f"({_origin(explanation, m.token)}{f', in {m.field}' if m.field else ''})"
            for m in explanation.matched
        ),
    ]
    if not explanation.matched:
        lines.append("  none: the document does not match this query")
    if explanation.query_only:
        lines += ["", "in the query only: the document was not expanded with them"]
        lines += [f"  {weight:7.3f}  {token}" for token, weight in explanation.query_only]
    if explanation.document_top:
        lines += ["", "the document's largest other weights"]
        lines += [
            f"  {weight:7.3f}  {token}  ({_origin(explanation, token)})" for token, weight in explanation.document_top
        ]
    if explanation.unsatisfied is not None:
        failed = ", ".join(explanation.unsatisfied)
        lines += ["", f"filter    {f'the document does not satisfy {failed}' if failed else 'satisfied'}"]
    if explanation.against is not None:
        lines += ["", *_contrast_lines(explanation, explanation.against)]
    if explanation.why_not is not None:
        lines += ["", *_why_not_lines(explanation.why_not)]
    return lines


def _shares(explanation: Explanation) -> str:
    shares = " + ".join(f"{share:.4f} of {field}" for field, share in explanation.shares.items())
    return f" = {shares}" if shares else ""


def _contrast_lines(explanation: Explanation, other: Contrast) -> list[str]:
    return [
        f"against   {other.id} ({other.lang or 'no language'}): {_short(f'{other.title} {other.text}')}",
        f"score     {other.score:.4f}, so {explanation.id} is {explanation.score - other.score:+.4f}",
        "query weight x (weight in this - weight in the other) = difference",
        *(
            f"  {t.query_weight:7.3f} x ({t.weight:6.3f} - {t.other_weight:6.3f}) = {t.difference:+8.3f}  {t.token}"
            for t in other.tokens
        ),
    ]


def _why_not_lines(why: WhyNot) -> list[str]:
    rank = f"rank {why.rank}" if why.rank is not None else "not among the first 1,000"
    lines = [f"why not   {rank} of the query's hits"]
    if why.filtered:
        lines.append(f"  filtered out: {why.filtered}")
    if not why.shares_token:
        lines.append("  no shared token: none of the query's tokens has a weight in the document")
    lines += [f"  needed: {_needed(token)}" for token in why.needed]
    if why.unpruned_weights is not None:
        lines.append(
            f"  the encoder gave {why.unpruned_weights} weights before pruning, {why.stored_weights} are stored"
        )
    if why.cut is not None:
        lost = ", ".join(why.cut.query_tokens) or "no query token"
        lines.append(
            f"  cut at max_length {why.cut.max_length} of {why.cut.tokens} tokens: {_short(why.cut.lost_text)}"
        )
        lines.append(f"  only in the lost part: {lost}")
    return [*lines, *([f"  {_with_flags(why.note)}"] if why.note else [])]


def _with_flags(note: str) -> str:
    return with_flags(note, click.get_current_context().command.params)


def _needed(needed: NeededExpansion) -> str:
    start = f"{needed.token} (query weight {needed.query_weight:.3f})"
    if needed.weight is None:
        return start
    if needed.rank is None:
        return f"{start}: the encoder gives it nothing"
    return f"{start}: {needed.weight:.3f} before pruning, rank {needed.rank}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "\u2026"


def _origin(explanation: Explanation, token: str) -> str:
    return "in its text" if token in explanation.literal else "expansion"


command = explain_command
