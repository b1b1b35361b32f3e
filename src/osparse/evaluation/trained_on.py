"""Which judged queries and answers a model was trained on, so that its figures can be shown without them too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from osparse.contracts.seen import SeenTexts
from osparse.evaluation.measures import JudgedSet

if TYPE_CHECKING:
    import polars as pl

    from osparse.contracts.dataset import Dataset


@dataclass(frozen=True)
class TrainedOn:
    """How much of some judged sets one model, its start and its teachers were trained on."""

    answers: int
    """Distinct relevant documents."""
    answers_seen: int
    queries: int
    """Distinct judged queries."""
    queries_seen: int
    affected: tuple[frozenset[str], ...]
    """Of each set, the queries that were trained on themselves or have an answer that was."""
    unknown: tuple[str, ...] = ()
    """Starts and teachers of the model whose own training texts are not known."""

    @property
    def any(self) -> bool:
        return bool(self.answers_seen or self.queries_seen)

    def text(self, split: str) -> str:
        """A clause, such as "76 of 110 test answers and 0 of 55 test queries were trained on"."""
        return (
            f"{self.answers_seen:,} of {self.answers:,} {split} answers and {self.queries_seen:,} of "
            f"{self.queries:,} {split} queries were trained on"
        )

    @classmethod
    def from_json(cls, counts: Mapping[str, Any]) -> TrainedOn:
        """What :meth:`to_json` gave; which queries were affected is not kept there."""
        return cls(**{**counts, "affected": (), "unknown": tuple(counts.get("unknown", ()))})

    def to_json(self) -> dict[str, Any]:
        """The counts; ``unknown`` where there is any."""
        counts = {name: getattr(self, name) for name in ("answers", "answers_seen", "queries", "queries_seen")}
        return {**counts, **({"unknown": list(self.unknown)} if self.unknown else {})}


def trained_on(documents: pl.LazyFrame, sets: Sequence[JudgedSet], seen: SeenTexts) -> TrainedOn:
    """Compare the texts of judged queries and of their relevant documents with what was learnt from.

    Args:
        documents: Columns id, text, among them every relevant document of ``sets``.
    """
    answers = _seen_answers(documents, sets, seen)
    queries = {name: text for judged in sets for name, text in judged.queries.items()}
    seen_queries = {
        name for name, held in zip(queries, seen.holds("query", list(queries.values())), strict=True) if held
    }
    return TrainedOn(
        answers=len(answers),
        answers_seen=sum(answers.values()),
        queries=len(queries),
        queries_seen=len(seen_queries),
        affected=tuple(
            frozenset(
                query
                for query, relevant in judged.qrels.items()
                if query in seen_queries or any(answers[document] for document in relevant)
            )
            for judged in sets
        ),
        unknown=seen.unknown,
    )


def _seen_answers(documents: pl.LazyFrame, sets: Sequence[JudgedSet], seen: SeenTexts) -> dict[str, bool]:
    """Relevant document -> whether its text was learnt from."""
    import polars as pl

    ids = {document for judged in sets for relevant in judged.qrels.values() for document in relevant}
    chosen = pl.LazyFrame({"id": sorted(ids)}, schema={"id": pl.String})
    rows = documents.select("id", "text").join(chosen, on="id", how="semi").collect(engine="streaming")
    held = seen.holds("document", rows["text"].to_list()).tolist()
    return dict(zip(rows["id"].to_list(), held, strict=True))


def trained_on_split(dataset: Dataset, split: str, seen: SeenTexts) -> TrainedOn:
    """:func:`trained_on` of a split's judgements, whatever their languages and grades."""
    import polars as pl

    relevant = dataset.qrels(split).filter(pl.col("score") > 0).select("query_id", "document_id").collect()
    texts = dataset.queries.join(relevant.lazy(), left_on="id", right_on="query_id", how="semi").select("id", "text")
    qrels: dict[str, dict[str, int]] = {}
    for query, document in relevant.iter_rows():
        qrels.setdefault(query, {})[document] = 1
    return trained_on(
        dataset.documents, [JudgedSet("", "", dict(texts.collect().iter_rows()), [], qrels, frozenset())], seen
    )
