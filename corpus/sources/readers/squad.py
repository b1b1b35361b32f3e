"""Questions on passages in SQuAD's format (SQuAD 1.1 and 2.0, KorQuAD 1.0, KLUE-MRC): only what can be answered.

The passage answers the question; passages of an article share a split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from osparse.corpus.sources.records import (
    Judgement,
    Options,
    Reader,
    RowCounts,
    SourceDocument,
    SourceQuery,
    SourceRecord,
)
from osparse.corpus.split.groups import text_id
from osparse.errors import DatasetError
from osparse.rows.json_stream import json_items


def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
    """Yield a record per passage; raises :class:`DatasetError` with path:line where the format's keys are missing."""
    for path in paths:
        for where, article in json_items(path, "data"):
            for number, paragraph in enumerate(_list(article, "paragraphs", where)):
                record = _passage(article.get("title") or "", paragraph, f"{where} paragraph {number}", counts)
                if record is not None:
                    yield record


def _passage(title: str, paragraph: dict[str, Any], where: str, counts: RowCounts) -> SourceRecord | None:
    context = paragraph.get("context")
    if not isinstance(context, str):
        raise DatasetError(f"{where}: a paragraph needs a context, found {sorted(paragraph)}")
    document = text_id("d", context)
    group = text_id("squad", title or context)
    queries = []
    for question in _list(paragraph, "qas", where):
        reason = _why_not(question, context, where)
        if reason:
            counts.drop(reason)
            continue
        counts.kept += 1
        name = str(question.get("id") or question.get("guid"))
        text = question["question"]
        queries.append(SourceQuery(f"squad:{name}", text, "", place=f"{where} question {name}"))
    if not queries:
        return None
    passage = SourceDocument(document, context, "", title=title, group=group)
    judgements = tuple(Judgement(query.id, document, group=group) for query in queries)
    return SourceRecord((passage,), tuple(queries), judgements)


def _why_not(question: dict[str, Any], context: str, where: str) -> str:
    """The reason for which a question is left out, or ""."""
    text, answers = question.get("question"), question.get("answers")
    if not isinstance(text, str) or not isinstance(answers, list) or not (question.get("id") or question.get("guid")):
        raise DatasetError(f"{where}: a question needs question, answers and id or guid, found {sorted(question)}")
    if question.get("is_impossible") or not answers:
        return "no answer in the passage"
    if not text.strip():
        return "empty question"
    answer_texts = [answer.get("text") for answer in answers if isinstance(answer, dict)]
    if not any(isinstance(answer, str) and answer and answer in context for answer in answer_texts):
        return "the passage does not hold the answer's text"
    return ""


def _list(parent: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    value = parent.get(key)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise DatasetError(
            f"{where}: {key} must be a list of objects, found {type(value).__name__} in {sorted(parent)}"
        )
    return value


READER = Reader(
    name="squad",
    reads="SQuAD-format JSON (SQuAD, KorQuAD 1.0, KLUE-MRC)",
    licence="the data set's own (SQuAD and KLUE: CC BY-SA 4.0; KorQuAD: CC BY-ND 2.0 KR)",
    read=read,
    independent_files=True,
    recipe=2,
)
