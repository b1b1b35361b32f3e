"""Take a judged file back: the dataset or BEIR folder again, with the new judgements in it."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osparse.contracts.dataset import Dataset, save_dataset
from osparse.errors import InputError
from osparse.evaluation.measures import open_benchmark
from osparse.io.files import atomic_directory, read_jsonl, read_text
from osparse.io.streams import find
from osparse.retrieval.judging.exchange import quepid_row, workbench_rows
from osparse.retrieval.judging.ubi import normal_query
from osparse.rows.delimited import CSV_DELIMITERS

if TYPE_CHECKING:
    import polars as pl

ORIGIN = "annotated"
"""Of the imported rows in the qrels of a dataset."""
MAX_GRADE = 100

Grades = dict[tuple[str, str], int]
"""(query id, document id) -> grade; in a file without query ids (query text, document id) -> grade."""


@dataclass(frozen=True)
class Imported:
    path: Path
    """The dataset or BEIR folder that was written."""
    added: int
    relevant: int
    """Of the added judgements, those with a grade of 1 or more."""
    known: int
    """Judgements of the file for pairs that the dataset had already."""
    without_grade: int
    """Rows of the file that nobody filled in."""
    other_queries: int
    """Judgements of the file whose query the dataset does not have; only of files that name queries by their text."""


def import_judgements(
    judged: Path | str,
    data: Path | str,
    output: Path | str,
    *,
    split: str = "test",
    keep: bool = False,
    overwrite: bool = False,
) -> Imported:
    """Write ``data`` again under ``output``, with the grades of a file of judgements.

    A grade is a whole number: 0 is not relevant, 1 and more relevant. Rows without a grade are counted and left out. A
    file without query ids names queries by their text: its rows count for each query of the split with that text, in
    any case and spacing, and rows of other queries are counted and left out.

    Args:
        judged: The ``.csv`` or ``.jsonl`` file of :func:`osparse.retrieval.pool` with its grades filled in, that of
            :func:`osparse.retrieval.judge_clicks`, Quepid's CSV (query, docid, rating), or the judgements of the Search
            Relevance Workbench as ``.json``.
        data: The dataset directory or BEIR folder the file was made from.
        split: The split whose judgements are added to.
        keep: Keep the dataset's grade where the file has another for the same pair, instead of refusing the file.
        overwrite: Replace ``output``.

    Raises:
        InputError: a grade or an id that cannot be used, with its line; a pair that is judged otherwise already.
        DatasetError: ``data`` cannot be read or has no such split.
    """
    source, folder = Path(data), Path(output)
    grades, without_grade, by_text = _read(Path(judged))
    if source.resolve() == folder.resolve():
        raise InputError(f"`output` must be another folder than the dataset {source}, which stays as it is")
    beir = find(source, "corpus.jsonl") is not None and not (source / "manifest.json").is_file()
    write = _write_beir if beir else _write_dataset
    other_queries = 0
    if by_text:
        grades, other_queries = _by_id(grades, source, split)
    added = write(source, folder, split, grades, keep, overwrite)
    relevant = sum(grade > 0 for grade in added.values())
    return Imported(folder, len(added), relevant, len(grades) - len(added), without_grade, other_queries)


def _by_id(grades: Grades, source: Path, split: str) -> tuple[Grades, int]:
    """The grades by query id, and the number of those whose query the split does not have."""
    ids: dict[str, list[str]] = {}
    for judged in open_benchmark(source, split).sets:
        for query, text in judged.queries.items():
            ids.setdefault(normal_query(text), []).append(query)
    known = {pair: grade for pair, grade in grades.items() if pair[0] in ids}
    if not known:
        raise InputError(f"none of the file's queries is a query of the split {split} of {source}")
    by_id = {(query, document): grade for (text, document), grade in known.items() for query in ids[text]}
    return by_id, len(grades) - len(known)


def _read(path: Path) -> tuple[Grades, int, bool]:
    """The grades of a file, the number of its rows without one, and whether they name queries by their text."""
    grades, without_grade, by_text = Grades(), 0, False
    for number, (where, row) in enumerate(_rows(path)):
        by_text = "query_id" not in row and "query" in row if number == 0 else by_text
        missing = [name for name in ("query" if by_text else "query_id", "document_id", "grade") if name not in row]
        if missing:
            raise InputError(f"{where}: no {missing[0]}; give a file that osparse judge pool wrote, with grades")
        grade = row["grade"]
        if grade is None or not str(grade).strip():
            without_grade += 1
            continue
        query = normal_query(str(row["query"])) if by_text else str(row["query_id"])
        pair, value = (query, str(row["document_id"])), _grade(grade, where)
        if grades.setdefault(pair, value) != value:
            raise InputError(f"{where}: {pair[1]} for query {pair[0]} is judged {grades[pair]} and {value}; keep one")
    if not grades:
        raise InputError(f"{path} has no grade: fill in the column grade, 0 for not relevant, 1 or more for relevant")
    return grades, without_grade, by_text


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if path.suffix == ".jsonl":
        yield from ((f"{path}:{number}", row) for number, row in read_jsonl(path))
    elif path.suffix == ".csv":
        text = read_text(path).removeprefix("\ufeff")
        delimiter = max(CSV_DELIMITERS, key=text.partition("\n")[0].count)  # spreadsheets of many countries write ;
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        yield from ((f"{path}:{reader.line_num}", quepid_row(row)) for row in reader)
    elif path.suffix == ".json":
        yield from workbench_rows(path)
    else:
        raise InputError(f"{path} must end in .csv or .jsonl, or in .json for the Search Relevance Workbench")


def _grade(value: Any, where: str) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, bool) or not number.is_integer() or not 0 <= number <= MAX_GRADE:
        raise InputError(f"{where}: the grade must be a whole number from 0 to {MAX_GRADE}, got {value!r}")
    return int(number)


def _new(grades: Grades, known: Mapping[tuple[str, str], float], keep: bool) -> Grades:
    """The grades that are not in ``known``; an error where a pair has another grade there, unless ``keep`` is set."""
    for pair, grade in grades.items():
        if not keep and known.get(pair, grade) != grade:
            raise InputError(
                f"document {pair[1]} is judged {known[pair]:g} for query {pair[0]} in the dataset and {grade} in the "
                "file; correct the file, or pass `keep=True` to keep the dataset's grades"
            )
    return {pair: grade for pair, grade in grades.items() if pair not in known}


def _check_ids(grades: Grades, queries: pl.LazyFrame, documents: pl.LazyFrame) -> None:
    import polars as pl

    for position, (table, what) in enumerate(((queries, "query"), (documents, "document"))):
        ids = pl.LazyFrame({"id": sorted({pair[position] for pair in grades})}, schema={"id": pl.String})
        unknown = ids.join(table, on="id", how="anti").collect()["id"]
        if len(unknown):
            raise InputError(
                f"the dataset has no {what} {unknown[0]!r} ({len(unknown)} such ids in the file); give the dataset "
                "that the file was made from"
            )


def _write_dataset(source: Path, folder: Path, split: str, grades: Grades, keep: bool, overwrite: bool) -> Grades:
    import polars as pl

    dataset = Dataset.open(source)
    old = dataset.qrels(split).collect()
    added = _new(grades, {(query, document): score for query, document, score, _ in old.iter_rows()}, keep)
    _check_ids(added, dataset.queries, dataset.documents)
    rows = [(query, document, float(grade), ORIGIN) for (query, document), grade in added.items()]
    more = pl.DataFrame(rows, schema=old.schema, orient="row")
    qrels = {name: dataset.qrels(name) for name in dataset.splits}
    save_dataset(
        folder,
        documents=dataset.documents,
        queries=dataset.queries,
        qrels={**qrels, split: pl.concat([old, more])},
        sources=dataset.manifest.sources,
        split_rule=dataset.manifest.split_rule,
        seed=dataset.manifest.seed,
        candidates={name: dataset.candidates(name) for name in dataset.splits if dataset.has_candidates(name)},
        notes={**dataset.manifest.notes, "judgements_imported": len(added)},
        overwrite=overwrite,
    )
    return added


def _write_beir(source: Path, folder: Path, split: str, grades: Grades, keep: bool, overwrite: bool) -> Grades:
    from osparse.evaluation.beir import read_beir

    beir = read_beir(source, split)
    old: dict[tuple[str, str], float] = {(query, document): score for query, document, score in beir.qrels.iter_rows()}
    added = _new(grades, old, keep)
    _check_ids(added, beir.queries, beir.documents)
    with atomic_directory(folder, marker="corpus.jsonl", overwrite=overwrite) as target:
        shutil.copytree(source, target, dirs_exist_ok=True)
        for file in (target / "qrels").glob(f"{split}.tsv*"):
            file.unlink()
        rows = [f"{query}\t{document}\t{score:g}\n" for (query, document), score in {**old, **added}.items()]
        (target / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows), "utf-8")
    return added
