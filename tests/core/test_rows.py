"""One reader of rows: whatever the kind, the compression, the name and the place of a file, the same rows come."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from osparse.errors import DatasetError, InputError
from osparse.io.locations import RemotePath, expanded, location
from osparse.rows.read_rows import count_rows, read_rows
from osparse.rows.row_rules import RowRules, parse_renames

ROWS: list[dict[str, Any]] = [
    {"id": "1", "text": 'one, "quoted"\nof two lines', "note": "x"},
    {"id": "2", "text": "둘", "note": None},
    {"id": "3", "text": "three;\tthree", "note": "z"},
]


def cells(delimiter: str) -> bytes:
    """The rows as RFC 4180 writes them, every text in quotes."""
    quoted = [
        [*(f'"{row[name]}"'.replace('one, "quoted"', 'one, ""quoted""') for name in ("id", "text")), row["note"] or ""]
        for row in ROWS
    ]
    return "\r\n".join(delimiter.join(row) for row in [["id", "text", "note"], *quoted]).encode()


def table(write: Callable[..., Any]) -> bytes:
    target = io.BytesIO()
    write(pa.Table.from_pylist(ROWS), target)
    return target.getvalue()


def arrow(stream: bool) -> bytes:
    target, whole = io.BytesIO(), pa.Table.from_pylist(ROWS)
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(target, whole.schema) as writer:
        writer.write_table(whole)
    return target.getvalue()


KINDS: dict[str, Callable[[], bytes]] = {
    "jsonl": lambda: b"".join(json.dumps(row).encode() + b"\n" for row in ROWS),
    "json": lambda: json.dumps(ROWS, indent=2).encode(),
    "csv": lambda: cells(","),
    "semicolons": lambda: cells(";"),
    "tsv": lambda: cells("\t"),
    "parquet": lambda: table(pa.parquet.write_table),
    "arrow": lambda: arrow(False),
    "arrow stream": lambda: arrow(True),
}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: bytes(pa.Codec("zstd").compress(data, asbytes=True)),
}


def rows(path: Path) -> list[dict[str, Any]]:
    return [row for _, row, _ in read_rows(path, bar=False)]


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_in_every_compression(
    kind: str, compression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a name that says nothing, and from standard input: the content decides."""
    data = COMPRESS[compression](KINDS[kind]())
    path = tmp_path / "no-name"
    path.write_bytes(data)
    assert rows(path) == ROWS
    assert count_rows(path) in (3, None)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert rows(Path("-")) == ROWS


def test_a_table_of_cells_has_no_types(tmp_path: Path) -> None:
    for kind, typed in (("csv", False), ("tsv", False), ("jsonl", True), ("parquet", True)):
        (tmp_path / kind).write_bytes(KINDS[kind]())
        assert {found.typed for found in read_rows(tmp_path / kind, bar=False)} == {typed}


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("d.jsonl", b"id,text\n1,x\n", r"d.jsonl:1: not JSON"),
        ("d.parquet", b'{"id": 1}\n', "d.parquet is not a Parquet file: it does not begin with PAR1"),
        ("d.csv", b'id,text\n1,x,y\n', r"d.csv:2: 3 cells, but the first line names 2 columns"),
        ("d", b"just a sentence without any cells\n", "d:1: not JSON"),
        ("d", b'[{"id": 1}, 7]', r"d:1: expected a JSON object, found int"),
        ("d", "id,ąę\n1,x\n".encode("cp1250"), "not UTF-8: byte 0xb9"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_with_its_place(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DatasetError, match=said):
        rows(tmp_path / name)


def test_a_name_that_says_what_it_is_counts_where_the_content_does_not(tmp_path: Path) -> None:
    for name in ("one.csv", "one.CSV.gz", "one.tsv"):
        (tmp_path / name).write_bytes(b"id\n7\n")
        if name != "one.tsv":
            assert rows(tmp_path / name) == [{"id": "7"}]


def test_patterns_stand_for_files_in_order_of_name(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "c.csv", "deep/d.jsonl", "odd[1].jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [path.name for path in expanded([tmp_path / "[ab].jsonl"])] == ["a.jsonl", "b.jsonl"]
    assert [path.name for path in expanded([str(tmp_path / "**" / "d*.jsonl"), tmp_path / "c.csv"])] == [
        "d.jsonl",
        "c.csv",
    ]
    assert [path.name for path in expanded([tmp_path / "odd[1].jsonl"])] == ["odd[1].jsonl"]
    with pytest.raises(InputError, match="no file fits the pattern"):
        expanded([tmp_path / "*.xml"])


def test_an_address_is_a_path_without_its_secrets() -> None:
    made = location("https://user:secret@host/a//b.jsonl.gz?Signature=secret&v=1")
    assert isinstance(made, RemotePath) and made.url.endswith("v=1")
    assert str(made) == f"{made}" == "https://host/a//b.jsonl.gz" and made.name == "b.jsonl.gz" and made.suffix == ".gz"
    assert "secret" not in str(pickle.loads(pickle.dumps(made))) and pickle.loads(pickle.dumps(made)).url == made.url
    assert location(Path("s3://bucket/key")) == location("s3://bucket/key")
    assert str(location(Path("gs://bucket/key"))) == "gs://bucket/key"
    assert not isinstance(location("relative/path"), RemotePath) and location("-") == Path("-")


@pytest.fixture
def memory() -> Iterator[Any]:
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/", recursive=True)


@pytest.mark.parametrize("kind", KINDS)
def test_an_address_is_read_like_a_file(kind: str, memory: Any) -> None:
    for number in (1, 2):
        memory.pipe(f"/shop/{kind}-{number}.bin", gzip.compress(KINDS[kind]()))
    files = expanded(["memory://shop/*.bin"])
    assert [str(file) for file in files] == [f"memory://shop/{kind}-{number}.bin" for number in (1, 2)]
    assert all(rows(file) == ROWS and count_rows(file) is None for file in files)
    with pytest.raises(InputError, match=r"no file fits the pattern memory://shop/\*.csv"):
        expanded(["memory://shop/*.csv"])
    with pytest.raises(DatasetError, match="memory://shop/none does not exist"):
        rows(location("memory://shop/none"))


def test_an_address_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(InputError, match=r"s3://bucket/key cannot be read: .*pip install 'osparse\[cloud\]'"):
        rows(location("s3://bucket/key"))


class _Files(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)

    def _answer(self, body: bool) -> None:
        data = gzip.compress(KINDS["csv"]()) if self.path == "/d.csv.gz?token=secret" else b""
        self.send_response(200 if data else 404)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def test_a_web_address() -> None:
    pytest.importorskip("aiohttp")
    pytest.importorskip("fsspec")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        assert rows(location(f"{base}/d.csv.gz?token=secret")) == ROWS
        with pytest.raises(DatasetError, match=f"{base}/none does not exist"):
            rows(location(f"{base}/none?token=secret"))
        server.shutdown()


def test_rows_of_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """A local S3 server: plain, compressed, by a pattern, and a bucket that is not there."""
    servers = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")

    server = servers.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_DEFAULT_REGION", "us-east-1"),
                        ("AWS_ENDPOINT_URL", f"http://{host}:{port}")):  # fmt: skip
        monkeypatch.setenv(name, value)
    try:
        system = s3fs.S3FileSystem(skip_instance_cache=True)
        system.mkdir("shop")
        for kind in KINDS:
            system.pipe(f"shop/day 1/{kind}.zst", COMPRESS["zstd"](KINDS[kind]()))
        files = expanded(["s3://shop/day 1/*"])
        assert len(files) == len(KINDS) and all(rows(file) == ROWS for file in files)
        with pytest.raises(DatasetError, match="s3://shop/none does not exist"):
            rows(location("s3://shop/none"))
    finally:
        server.stop()


def test_fields_are_renamed_first_and_left_out_last() -> None:
    rules = RowRules(rename=parse_renames(["name=title", "title=name"]), exclude=("in.side", "cost", "list.x"))
    row = rules.renamed({"name": 1, "title": 2, "cost": 3, "in": {"side": 4, "b": 5}, "list": [{"x": 1, "y": 2}, 7]})
    assert rules.kept(row) == {"title": 1, "name": 2, "in": {"b": 5}, "list": [{"y": 2}, 7]} and rules.unused() == []
    assert RowRules(exclude=("never",), rename={"old": "new"}).unused() == ["old", "never"]
    with pytest.raises(ValueError, match="gives a field the name b, which the row has"):
        RowRules(rename={"a": "b"}).renamed({"a": 1, "b": 2})
    with pytest.raises(InputError, match="gives two fields the name c"):
        RowRules(rename={"a": "c", "b": "c"})
    with pytest.raises(InputError, match="leaves out text, which the text is made of"):
        RowRules(exclude=("text",))
    for wrong in ("a", "=b", "a="):
        with pytest.raises(InputError, match="must be OLD=NEW"):
            parse_renames([wrong])
