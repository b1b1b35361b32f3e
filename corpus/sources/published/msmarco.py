"""MS MARCO passages: a folder of its files as published, or text triples.

    collection.tsv                      pid, passage
    queries.train.tsv, queries.dev.tsv  qid, query
    qrels.train.tsv, qrels.dev.tsv      qid, 0, pid, grade; also qrels.dev.small.tsv
    msmarco-hard-negatives.jsonl        {"qid", "pos": [pid], "neg": {"system": [pid]}}; optional
    triples.train.small.tsv             query, positive, negative texts: given as a file

Each may be compressed. The published splits are kept (dev counts as validation); hard negatives become candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from osparse.corpus.sources.input_rows import Row, Where
from osparse.corpus.sources.records import (
    Judgement,
    Option,
    Options,
    Reader,
    RowCounts,
    SourceCandidate,
    SourceDocument,
    SourceQuery,
    SourceRecord,
)
from osparse.corpus.sources.row_records import records_of
from osparse.errors import DatasetError
from osparse.io.streams import decoded, find, json_rows, lines

SPLITS = {"train": "train", "dev": "validation"}
HARD_NEGATIVES = "msmarco-hard-negatives.jsonl"


def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
    """Yield passages, judged queries, judgements and hard negatives.

    Raises:
        DatasetError: a file that is missing; a row of the wrong number of cells, or without its keys (path:line).
    """
    if len(paths) == 1 and paths[0].is_dir():
        yield from _folder(paths[0], counts, int(options["negatives"]))
        return

    def rows() -> Iterator[tuple[Where, Row]]:
        for path in paths:
            for where, (query, positive, negative) in _cells(path, 3, "query, positive, negative"):
                yield where, {"query": query, "pos": [positive], "neg": [negative] if negative != positive else []}

    yield from records_of(rows, counts)


def _folder(folder: Path, counts: RowCounts, negatives: int) -> Iterator[SourceRecord]:
    collection = find(folder, "collection.tsv")
    qrels = {name: find(folder, f"qrels.{name}.tsv") or find(folder, f"qrels.{name}.small.tsv") for name in SPLITS}
    if collection is None or not any(qrels.values()):
        raise DatasetError(f"{folder} must hold collection.tsv and qrels.train.tsv or qrels.dev.tsv (any compression)")
    for where, (pid, text) in _cells(collection, 2, "pid, passage"):
        if not text.strip():
            counts.drop("empty passage")
            continue
        counts.kept += 1
        yield SourceRecord((SourceDocument(pid, text, "en", place=where),))
    judged: set[str] = set()
    for name, path in qrels.items():
        of_split = set()
        for where, (qid, _, pid, grade) in _cells(path, 4, "qid, 0, pid, grade") if path else ():
            of_split.add(qid)
            score = _number(grade, where)
            yield SourceRecord(judgements=(Judgement(qid, pid, score, split=SPLITS[name], place=where),))
        queries = find(folder, f"queries.{name}.tsv") or find(folder, f"queries.{name}.small.tsv")
        if of_split and queries is None:
            raise DatasetError(f"{folder} has qrels of {name} and no queries.{name}.tsv")
        for where, (qid, text) in _cells(queries, 2, "qid, query") if of_split and queries else ():
            if qid in of_split and qid not in judged:
                yield SourceRecord(queries=(SourceQuery(qid, text, "en", place=where),))
        judged |= of_split
    hard = find(folder, HARD_NEGATIVES)
    if hard is not None:
        yield from _hard_negatives(hard, judged, negatives, counts)


def _hard_negatives(path: Path, judged: set[str], most: int, counts: RowCounts) -> Iterator[SourceRecord]:
    unjudged = 0
    for where, row in json_rows(path):
        systems = row.get("neg")
        if "qid" not in row or not isinstance(row.get("pos"), list) or not isinstance(systems, dict):
            raise DatasetError(
                f'{where}: must be {{"qid", "pos": [pid], "neg": {{system: [pid]}}}}, found {sorted(row)}'
            )
        qid, positive = str(row["qid"]), {str(pid) for pid in row["pos"]}
        if qid not in judged:
            unjudged += 1
            continue
        negative_ids = dict.fromkeys(str(pid) for name in sorted(systems) for pid in systems[name][:most])
        yield SourceRecord(
            candidates=tuple(
                SourceCandidate(qid, pid, 0.0, origin="mined") for pid in negative_ids if pid not in positive
            )
        )
    counts.notes["hard_negatives_of_unjudged_queries"] = unjudged


def _cells(path: Path, count: int, what: str) -> Iterator[tuple[Where, list[str]]]:
    for where, line in lines(path):
        cells = decoded(line, where).split("\t")
        if len(cells) != count and count == 4:
            cells = cells[0].split(" ")  # TREC's own files part them by spaces
        if len(cells) != count:
            raise DatasetError(
                f"{where}: must have {count} cells between tabs ({what}), found {len(cells)}: {line[:60]!r}"
            )
        yield where, cells


def _number(text: str, where: str) -> float:
    try:
        return float(int(text))
    except ValueError:
        raise DatasetError(f"{where}: the grade must be a whole number, found {text!r}") from None


READER = Reader(
    name="msmarco",
    reads="a folder with collection.tsv, queries.*.tsv, qrels.*.tsv msmarco-hard-negatives.jsonl; or triples files",
    licence="MS MARCO terms (non-commercial research)",
    read=read,
    options={"negatives": Option(30, "hard negatives that are kept of each system")},
    same_text_is_relevant=False,
    recipe=2,
)
