"""A Hugging Face ``datasets`` folder (``save_to_disk``): one split, or a DatasetDict, whose splits are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from osparse.corpus.sources.column_map import OPTIONS, own_rows
from osparse.corpus.sources.input_rows import Row, Where
from osparse.corpus.sources.records import Options, Reader, RowCounts, SourceRecord
from osparse.corpus.sources.row_records import records_of
from osparse.errors import DatasetError
from osparse.io.files import read_json
from osparse.io.tabular import table_rows

SPLITS = {"train": "train", "validation": "validation", "dev": "validation", "test": "test"}


def read(paths: Sequence[Path], counts: RowCounts, options: Options) -> Iterator[SourceRecord]:
    """Yield the records of each folder.

    Raises:
        DatasetError: no folder made by ``save_to_disk``, a file it lists is missing, a split of an unknown name.
    """
    for path in paths:
        for folder, split in _splits(path):
            files = _files(folder)

            def rows(files: Sequence[Path] = files) -> Iterator[tuple[Where, Row]]:
                for file in files:
                    yield from own_rows(table_rows(file, nulls=True), options, counts)

            yield from records_of(rows, counts, split)


def _splits(path: Path) -> list[tuple[Path, str | None]]:
    if not (path / "dataset_dict.json").is_file():
        return [(path, None)]
    names = read_json(path / "dataset_dict.json", DatasetError).get("splits", [])
    if unknown := [name for name in names if name not in SPLITS]:
        raise DatasetError(
            f"{path}: splits of the names {', '.join(SPLITS)} are read, found {', '.join(unknown)}; "
            "give the folder of one split to have its rows assigned to splits by group"
        )
    return [(path / name, SPLITS[name]) for name in names]


def _files(folder: Path) -> list[Path]:
    if not (folder / "state.json").is_file():
        raise DatasetError(f"{folder} was not made by save_to_disk: it has no state.json")
    state = read_json(folder / "state.json", DatasetError)
    files = [folder / str(file.get("filename")) for file in state.get("_data_files", [])]
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise DatasetError(f"{folder}: state.json lists {json.dumps([f.name for f in files])}; missing: {missing}")
    return files


READER = Reader(
    name="hf",
    reads="folders made by datasets' save_to_disk, with the columns of jsonl's rows",
    licence="the data set's own",
    read=read,
    options=OPTIONS,
    recipe=3,
)
