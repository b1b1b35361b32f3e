"""Shards: the same files in any number of parts, after any kill; what is unchanged is not encoded again."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import world

from osparse.cli.main import main
from osparse.contracts.bundle import Bundle
from osparse.contracts.shards import ShardSet, read_info, read_table, shard_names, write_shard
from osparse.deployer import EncodeResult, encode_documents
from osparse.deployer.encode import encoders
from osparse.deployer.encode.encoders import WorkerPool
from osparse.deployer.encode.worker import FeatureEncoder
from osparse.deployer.load.vectors import encoded_rows
from osparse.deployer.shards import writer
from osparse.encoders import onnx_session
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.errors import InputError, OsparseError
from osparse.formula.lucene_rounding import quantise
from osparse.io.file_folders import open_folder

TEXTS = [text for record in world.RECORDS for text in record[1:]]
LONG = "pear " * 200
ROWS: list[dict[str, Any]] = [
    *({"id": f"d{n}", "text": text, "price": n / 3, "tags": ["x", str(n)]} for n, text in enumerate(TEXTS)),
    {"id": "long", "text": LONG, "title": None},
    {"id": "blank", "text": "  "},
    {"id": "no text"},
    {"id": "d0", "_op": "delete"},
    {"id": "d1", "text": "배 꽃"},
]


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    return write(tmp_path / "documents.jsonl", ROWS)


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: what several processes give is held by its own test."""
    monkeypatch.setattr(
        "osparse.deployer.shards.encode.WorkerPool",
        lambda archive, form, size, **more: encoders.OneProcess(FeatureEncoder(archive, form, **more)),
    )


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def encoded(documents: Path | list[Path], bundle: Bundle, output: Path, **options: Any) -> EncodeResult:
    paths = documents if isinstance(documents, list) else [documents]
    return encode_documents(paths, bundle, output, **{"shard_rows": 5, **options})


def test_a_shard_holds_rounded_weights_and_everything_of_the_row(
    documents: Path, small_bundle: Bundle, tmp_path: Path
) -> None:
    result = encoded(documents, small_bundle, tmp_path / "shards")
    assert (result.failed, result.cut, result.encoded) == (1, 1, len(TEXTS) + 2)
    folder = open_folder(tmp_path / "shards")
    table = pl.concat(ShardSet.open(folder).tables())
    assert table["id"].to_list() == [row["id"] for row in ROWS if row["id"] != "no text"]
    encoder = OnnxEncoder.open(small_bundle, threads=1)
    for row, given in zip(table.iter_rows(named=True), (row for row in ROWS if row["id"] != "no text"), strict=True):
        (expected,) = encoder.encode([given.get("text", "")])
        expected = expected if given.get("text", "").strip() else {}
        rounded = quantise(np.array([*expected.values()], np.float32)).tolist()
        found = dict(zip((encoder.tokens[i] for i in row["ids"]), row["weights"], strict=True))
        assert found == dict(zip(expected, rounded, strict=True)) and row["ids"] == sorted(row["ids"])
        assert row["cut"] == (given.get("text") == LONG)
        assert json.loads(row["fields"]) == {k: v for k, v in given.items() if k in ("price", "tags")}
        assert row["cleared"] == (["title"] if given["id"] == "long" else [])
        assert row["operation"] == given.get("_op", "index")
    info = read_info(folder, "shard-00000-000000.parquet")
    assert info.fingerprint == small_bundle.fingerprint and info.rows == 5 and not info.last


@pytest.mark.parametrize("files", [1, 3])
@pytest.mark.parametrize("parts", [2, 3, 7])
def test_parts_in_any_order_give_the_files_of_one_part(
    files: int, parts: int, small_bundle: Bundle, tmp_path: Path
) -> None:
    cut = [ROWS[start::files] for start in range(files)]
    paths = [write(tmp_path / f"{n}.jsonl", rows) for n, rows in enumerate(cut)]
    encoded(paths, small_bundle, tmp_path / "whole")
    order = [*range(1, parts + 1)]
    random.Random(0).shuffle(order)
    for number in order:
        if number == order[-1]:
            with pytest.raises(InputError, match="not complete: shard-0000"):
                ShardSet.open(open_folder(tmp_path / "parts"))
        encoded(paths, small_bundle, tmp_path / "parts", part=(number, parts))
    assert content(tmp_path / "parts") == content(tmp_path / "whole")
    names = shard_names(open_folder(tmp_path / "whole"))
    assert len(names) == sum(-(-len(rows) // 5) for rows in cut)


def test_processes_give_the_bytes_of_one_process(
    documents: Path, small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded(documents, small_bundle, tmp_path / "one")
    monkeypatch.setattr("osparse.deployer.shards.encode.WorkerPool", WorkerPool)
    monkeypatch.setattr(encoders, "PIECE", 2)
    encoded(documents, small_bundle, tmp_path / "two", workers=2)
    assert content(tmp_path / "two") == content(tmp_path / "one")


def test_a_device_is_used_or_refused(
    documents: Path, small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No GPU is at hand: the CPU under the other name, in one process and larger batches, gives the CPU's bytes."""
    with pytest.raises(InputError, match="cannot use `device=cuda`.*onnxruntime-gpu"):
        encoded(documents, small_bundle, tmp_path / "cuda", device="cuda")
    assert not (tmp_path / "cuda").exists()
    with pytest.raises(InputError, match="`workers` are processes"):
        encoded(documents, small_bundle, tmp_path / "cuda", device="cuda", workers=2)
    monkeypatch.setitem(onnx_session._PROVIDERS, "cuda", "CPUExecutionProvider")
    encoded(documents, small_bundle, tmp_path / "cuda", device="cuda")
    encoded(documents, small_bundle, tmp_path / "cpu")
    assert content(tmp_path / "cuda") == content(tmp_path / "cpu")


def test_an_encoding_killed_at_any_write_continues_exactly(
    documents: Path, small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded(documents, small_bundle, tmp_path / "whole")
    whole = content(tmp_path / "whole")
    for killed_at in range(len(whole)):
        output, left = tmp_path / f"killed-{killed_at}", iter([*[True] * killed_at, False])

        def dies(folder: Any, info: Any, table: Any, left: Iterator[bool] = left, output: Path = output) -> None:
            if not next(left, True):
                output.mkdir(exist_ok=True)
                (output / f".{info.name}.0123456789ab").write_bytes(b"PAR1half")
                raise KeyboardInterrupt
            write_shard(folder, info, table)

        monkeypatch.setattr(writer, "write_shard", dies)
        with pytest.raises(KeyboardInterrupt):
            encoded(documents, small_bundle, output)
        monkeypatch.setattr(writer, "write_shard", write_shard)
        result = encoded(documents, small_bundle, output)
        assert (result.unchanged, result.shards) == (killed_at, len(whole) - killed_at)
        assert content(output) == whole, "and nothing that the killed run left"


def test_what_is_there_is_not_encoded_again(documents: Path, small_bundle: Bundle, tmp_path: Path) -> None:
    encoded(documents, small_bundle, tmp_path / "old")
    again = encoded(documents, small_bundle, tmp_path / "old")
    assert (again.encoded, again.shards, again.unchanged, again.failed) == (0, 0, 8, 1)
    changed = [{"id": "new", "text": "new pears"}, *ROWS[::-1]]
    changed[-1] = {**ROWS[0], "price": 17}
    path = write(tmp_path / "changed.jsonl", changed)
    since = encoded(path, small_bundle, tmp_path / "since", since=tmp_path / "old")
    assert (since.encoded, since.reused, since.cut) == (1, len(TEXTS) + 2, 1)
    encoded(path, small_bundle, tmp_path / "afresh")
    assert content(tmp_path / "since") == content(tmp_path / "afresh")


def test_shards_of_other_rows_or_another_bundle_are_not_replaced_unasked(
    documents: Path, small_bundle: Bundle, other_bundle: Bundle, tmp_path: Path
) -> None:
    output = tmp_path / "shards"
    encoded(documents, small_bundle, output)
    before = content(output)
    with pytest.raises(InputError, match=r"differ in bundle .*overwrite=True"):
        encoded(documents, other_bundle, output)
    with pytest.raises(InputError, match=r"differ in rows of a shard"):
        encoded(documents, small_bundle, output, shard_rows=6)
    changed = write(tmp_path / "changed.jsonl", [*ROWS[:7], {**ROWS[7], "price": 0}, *ROWS[8:]])
    with pytest.raises(InputError, match=r"shard-00000-000001.*holds other rows.*overwrite=True"):
        encoded(changed, small_bundle, output)
    shorter = write(tmp_path / "shorter.jsonl", ROWS[:10])
    with pytest.raises(InputError, match="holds other rows|beyond the end"):
        encoded(shorter, small_bundle, output)
    assert content(output) == before
    encoded(shorter, other_bundle, output, overwrite=True)
    encoded(shorter, other_bundle, tmp_path / "afresh")
    assert content(output) == content(tmp_path / "afresh"), "shards beyond the end are gone"
    with pytest.raises(InputError, match=r"were encoded with bundle tiny.*encode"):
        encoded(documents, small_bundle, tmp_path / "x", since=output)


def test_an_object_store_holds_the_same_bytes(documents: Path, small_bundle: Bundle, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    encoded(documents, small_bundle, tmp_path / "local")
    url = f"memory://{tmp_path.name}/shards"
    encode_documents([documents], small_bundle, url, shard_rows=5)
    again = encode_documents([documents], small_bundle, url, shard_rows=5)
    assert (again.unchanged, again.shards) == (8, 0)
    folder = open_folder(url)
    assert {name: folder.read(name) for name in folder.names()} == content(tmp_path / "local")
    rows = [*encoded_rows(ShardSet.open(folder))]
    assert [row.id for row in rows] == [row["id"] for row in ROWS if row["id"] != "no text"]
    folder.delete(folder.names()[0])
    with pytest.raises(InputError, match="not complete: shard-00000-000000"):
        ShardSet.open(folder)
    fsspec.filesystem("memory").store.clear()


def test_a_set_without_rows_is_a_set(small_bundle: Bundle, tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.jsonl", [])
    result = encoded(empty, small_bundle, tmp_path / "shards")
    assert (result.shards, result.documents) == (1, 0)
    assert [*encoded_rows(ShardSet.open(open_folder(tmp_path / "shards")))] == []


def test_what_is_no_shard_says_so(documents: Path, small_bundle: Bundle, tmp_path: Path) -> None:
    output = tmp_path / "shards"
    with pytest.raises(InputError, match="holds no shards; make them with"):
        ShardSet.open(open_folder(output))
    encoded(documents, small_bundle, output)
    name = "shard-00000-000001.parquet"
    whole = (output / name).read_bytes()
    (output / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=f"{name} is not a whole Parquet file"):
        encoded(documents, small_bundle, output)
    pl.DataFrame({"id": ["a"]}).write_parquet(output / name)
    with pytest.raises(InputError, match=f"{name} is not a shard"):
        ShardSet.open(open_folder(output))
    (output / name).write_bytes((output / "shard-00000-000000.parquet").read_bytes())
    with pytest.raises(InputError, match="its metadata has another name"):
        ShardSet.open(open_folder(output))
    damaged = bytearray(whole)
    damaged[8:200] = bytes(192)
    (output / name).write_bytes(damaged)
    with pytest.raises(InputError, match=f"{name} cannot be read.*encode it again"):
        read_table(open_folder(output), name)


@pytest.mark.parametrize(
    "wrong", [{"part": (0, 2)}, {"part": (3, 2)}, {"workers": 0}, {"shard_rows": 0}, {"since": "shards"}]
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], documents: Path, small_bundle: Bundle) -> None:
    with pytest.raises(InputError, match=f"`{next(iter(wrong))}`"):
        encode_documents([documents], small_bundle, "shards", **wrong)


def test_a_folder_that_cannot_be_written_says_so(documents: Path, small_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(OsparseError, match="is a file, and a folder is required"):
        encoded(documents, small_bundle, documents)


def test_the_command_encodes_one_part(
    documents: Path, small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--json", "encode", str(documents), "--bundle", str(small_bundle.path), "--output", str(tmp_path / "out")]
    for part, shards in (("2/2", 1), ("1/2", 1)):
        with pytest.raises(SystemExit) as ended:
            main([*common, "--part", part, "--shard-rows", "20"])
        result = json.loads(capsys.readouterr().out)
        assert (result["shards"], ended.value.code) == (shards, 1 if result["failed"] else 0)
    assert (tmp_path / "failed-2-of-2.jsonl").exists() and not (tmp_path / "failed-1-of-2.jsonl").exists()
    assert ShardSet.open(open_folder(tmp_path / "out")).rows == len(ROWS) - 1
    with pytest.raises(SystemExit) as ended:
        main([*common, "--part", "2-2"])
    assert ended.value.code == 2 and "not of the form i/n" in capsys.readouterr().err
