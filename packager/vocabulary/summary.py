"""What trimming left and lost, in sentences for the terminal and the card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def trimming_lines(trimming: Mapping[str, Any]) -> list[str]:
    """One line for each figure of the manifest's ``trimming``; none for a bundle with every token."""
    if not trimming:
        return []
    tokens, queries = trimming["tokens"], trimming["queries"]
    saved, memory = (_sizes(trimming[key]) for key in ("zip_bytes_saved", "server_memory_bytes_saved"))
    return [
        f"{tokens['before']:,} tokens, {tokens['after']:,} left ({tokens['special']:,} special, {tokens['alphabet']:,} "
        f"that spell the corpus), {tokens['reweighted']:,} with another query weight",
        f"{trimming['weight_dropped']:.2%} of the document weight dropped; {trimming['documents']['tokens_gone']:.2%} "
        "of the documents' tokens are gone",
        f"{queries['tokens_gone']:.2%} of the queries' tokens are gone, {queries['texts_changed']:.2%} of "
        f"{queries['texts']:,} queries have other tokens"
        if queries["texts"]
        else "the dataset has no queries",
        _quality(trimming["ndcg"]),
        f"zips smaller by {saved}; memory on the server by {memory} (estimated)",
    ]


def _sizes(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{part} {size / 1e6:.1f} MB" for part, size in sizes.items())


def _quality(ndcg: Mapping[str, Any]) -> str:
    if not ndcg:
        return "nDCG@10 was not measured, since the dataset has no judgements"
    directions = ", ".join(
        f"{name} {row['before']:.4f} -> {row['after']:.4f}" for name, row in ndcg["directions"].items()
    )
    return (
        f"nDCG@10 on {ndcg['split']} {ndcg['before']:.4f} -> {ndcg['after']:.4f}, p {ndcg['p']:.3f} "
        f"({ndcg['queries']:,} queries among {ndcg['documents']:,} documents; {directions})"
    )
