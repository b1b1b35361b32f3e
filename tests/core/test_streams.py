"""Text is read one way everywhere: without a byte order mark, whatever the compression, from a pipe too."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import lzma
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from osparse.contracts.dataset import Dataset
from osparse.corpus.builder.build import build_dataset
from osparse.deployer.cluster.profiles import read_profile
from osparse.deployer.load.documents import DeletionRow, DocumentRow, read_documents, read_removals
from osparse.errors import DatasetError
from osparse.evaluation.beir import read_beir
from osparse.formula.lexicon import read_idf
from osparse.io.files import read_json, read_jsonl
from osparse.io.settings import read_settings
from osparse.io.streams import decoded, json_values, lines, opened
from osparse.trainer.config.run_config import TrainConfig

BOM = codecs.BOM_UTF8
QUESTION = {"id": "1", "question": "q", "answers": [{"text": "c", "answer_start": 0}]}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: bytes(pa.Codec("zstd").compress(data, asbytes=True)),
}


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_mark_goes_whatever_the_compression(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"f.txt{suffix}"
    path.write_bytes(COMPRESS[suffix](BOM + b"\xea\xb0\x80\r\n\n" + BOM + b"two\n"))
    assert [line for _, line in lines(path)] == ["가".encode(), b"two"]
    with opened(path) as file:
        assert file.read().startswith("가".encode())


def test_a_mark_within_a_line_is_text(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes(b"a" + BOM + b"b\n")
    assert [decoded(line, where) for where, line in lines(path)] == ["a\ufeffb"]


@pytest.mark.parametrize("name", ["ids.txt", "ids.jsonl"])
def test_the_first_id_of_a_list_to_delete(name: str, tmp_path: Path) -> None:
    rows = "".join(f'{{"id": "{i}"}}\n' if name.endswith(".jsonl") else f"{i}\n" for i in "abc")
    (tmp_path / name).write_bytes(BOM + rows.encode())
    assert list(read_removals([tmp_path / name])) == [DeletionRow("a"), DeletionRow("b"), DeletionRow("c")]


def test_documents_of_json_lines(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(b"".join(BOM + b'{"id": "%d", "text": "x"}\n' % i for i in range(2)))
    assert [row.id for row in read_documents([tmp_path / "d.jsonl"]) if isinstance(row, DocumentRow)] == ["0", "1"]
    assert [row["id"] for _, row in read_jsonl(tmp_path / "d.jsonl")] == ["0", "1"]
    (tmp_path / "v.jsonl").write_bytes(BOM + b'["a", "b"]\n')
    assert [value for _, value in json_values(tmp_path / "v.jsonl")] == [["a", "b"]]


def beir_folder(folder: Path, mark: bytes) -> Path:
    (folder / "qrels").mkdir(parents=True)
    for name in ("corpus", "queries"):
        rows = "".join(json.dumps({"_id": str(i), "text": f"{name} text {i}"}) + "\n" for i in range(3))
        (folder / f"{name}.jsonl").write_bytes(mark + rows.encode())
    for split in ("train", "test"):
        (folder / "qrels" / f"{split}.tsv").write_bytes(mark + b"query-id\tcorpus-id\tscore\n0\t0\t1\n1\t1\t1\n")
    return folder


@pytest.mark.parametrize("header", [True, False])
def test_a_beir_folder(header: bool, tmp_path: Path) -> None:
    marked, plain = beir_folder(tmp_path / "marked", BOM), beir_folder(tmp_path / "plain", b"")
    if not header:
        for folder, mark in ((marked, BOM), (plain, b"")):
            (folder / "qrels" / "test.tsv").write_bytes(mark + b"0\t0\t1\n1\t1\t1\n")
    one, other = read_beir(marked, "test"), read_beir(plain, "test")
    assert one.qrels.equals(other.qrels) and one.qrels["query_id"].to_list() == ["0", "1"]
    assert one.documents.collect().equals(other.documents.collect())
    built = [build_dataset("beir", [folder], tmp_path / f"{folder.name}-out") for folder in (marked, plain)]
    assert ids_of(built[0]) == ids_of(built[1])


def test_an_ms_marco_folder(tmp_path: Path) -> None:
    files = {
        "collection.tsv": "0\tthe first passage\n1\tthe second passage\n",
        "queries.train.tsv": "7\tfirst\n8\tsecond\n",
        "qrels.train.tsv": "7\t0\t0\t1\n8\t0\t1\t1\n",
    }
    built = []
    for mark in (BOM, b""):
        folder = tmp_path / f"in{len(mark)}"
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_bytes(mark + text.encode())
        built.append(build_dataset("msmarco", [folder], tmp_path / f"out{len(mark)}"))
    assert ids_of(built[0]) == ids_of(built[1]) and "0" in ids_of(built[0])[0]


def ids_of(dataset: Dataset) -> list[list[str]]:
    tables = dataset.documents, dataset.queries, *(dataset.qrels(split) for split in dataset.splits)
    return [sorted(table.collect().to_series(0).to_list()) for table in tables]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("jsonl", '{"query": "q", "pos": ["an answer"]}\n'),
        ("s2orc", '["a title", "an abstract"]\n'),
        ("gooaq", '["a question", "an answer"]\n'),
        ("namuwiki", json.dumps([{"namespace": "0", "title": "t", "text": "a long text " * 20, "contributors": []}])),
        ("msmarco", "query\tpositive\tnegative\n"),
        ("squad", json.dumps({"data": [{"title": "t", "paragraphs": [{"context": "c", "qas": [QUESTION]}]}]})),
    ],
)
def test_every_source(source: str, text: str, tmp_path: Path) -> None:
    built = []
    for mark in (BOM, b""):
        (tmp_path / f"in{len(mark)}").write_bytes(mark + text.encode())
        built.append(build_dataset(source, [tmp_path / f"in{len(mark)}"], tmp_path / f"out{len(mark)}"))
    assert ids_of(built[0]) == ids_of(built[1])


def test_settings_idf_json_and_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "idf.json").write_bytes(BOM + b'{"a": 1.5}')
    assert read_idf(tmp_path / "idf.json") == read_json(tmp_path / "idf.json") == {"a": 1.5}
    config = Path("configs/quickstart.yaml")
    (tmp_path / "marked.yaml").write_bytes(BOM + config.read_bytes())
    paths = ["tokenizer=tokenizer", "idf=idf.json"]
    assert read_settings(TrainConfig, tmp_path / "marked.yaml", paths) == read_settings(TrainConfig, config, paths)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "osparse").mkdir()
    profiles = tmp_path / "osparse" / "profiles.toml"
    profiles.write_bytes(BOM + b'[work]\ncluster = "http://h:9200"\n')
    profiles.chmod(0o600)
    assert read_profile("work").cluster == "http://h:9200"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_with_the_command_that_converts_it(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes("\ufeffabc\ndef\n".encode(encoding))
    with pytest.raises(DatasetError, match="ids.txt:1: an id must be UTF-8.*iconv -f UTF-16 -t UTF-8"):
        list(read_removals([tmp_path / "ids.txt"]))


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_pipe_is_read_once(suffix: str, tmp_path: Path) -> None:
    """As a process substitution gives it; what is written comes in pieces."""
    data, (reader, writer) = COMPRESS[suffix](BOM + b"one\n" + b"two\n" * 5000), os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb", buffering=0) as file:
            for start in range(0, len(data), 4096):
                file.write(data[start : start + 4096])

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reader):
        found = [line for _, line in lines(Path(f"/dev/fd/{reader}"), bar=False)]
    thread.join()
    assert found == [b"one", *[b"two"] * 5000]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(BOM + b"one\n\xff\n")))
    read = lines(Path("-"))
    assert next(read) == ("standard input:1", b"one")
    where, line = next(read)
    with pytest.raises(DatasetError, match="standard input:2: not UTF-8"):
        decoded(line, where)


def test_text_is_read_by_these_functions_alone() -> None:
    """A reader that decodes by itself would keep the mark; these read what osparse, the kernel or a program wrote."""
    own = {
        "src/osparse/encoders/onnx_nodes.py", "src/osparse/io/files.py", "src/osparse/io/streams.py",
        "src/osparse/runtime/java.py", "corpus/sources/published/apt.py", "packager/checks/djl.py",
         "packager/checks/djl_child.py", "packager/checks/emulator.py", "packager/quantize/cost_child.py",
         "packager/tokenizer/packaged.py", "packager/sagemaker/inference.py",
         "deployer/health/doctor.py", "deployer/encode/encoders.py", "deployer/node/home.py", "deployer/node/state.py",
        "deployer/node/stop.py", "retrieval/queries.py", "packager/vocabulary/trimmed_model.py",
         "packager/vocabulary/subword/tokenizer_file.py", "src/osparse/serving/vectors.py",
    }  # fmt: skip
    root = Path(__file__).parents[2]
    rooms = ["corpus", "trainer", "packager", "deployer", "retrieval"]
    core = [path for path in (root / "src" / "osparse").rglob("*.py") if path.relative_to(root).parts[2] not in rooms]
    reading = {
        path.relative_to(root).as_posix()
        for path in [*core, *(path for room in rooms for path in (root / room).rglob("*.py"))]
        if any(call in path.read_text(encoding="utf-8") for call in (".read_text(", '.decode("utf-8"', ".decode()"))
    }
    assert reading <= own
