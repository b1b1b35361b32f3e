"""The user's own files in every shape, and each example of docs/your-data.md as it stands there."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import polars as pl
import pytest
from click.testing import CliRunner

from osparse.cli.main import cli
from osparse.contracts.dataset import Dataset
from osparse.corpus import build_dataset
from osparse.errors import DatasetError, InputError
from osparse.evaluation.measures import open_benchmark

PAGE = (Path(__file__).parents[2] / "docs" / "your-data.md").read_text(encoding="utf-8")
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.M | re.S)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Dataset, str]]:
    """Output's name -> the dataset and what the command printed, of every command of the page in a folder of its own."""
    folder = tmp_path_factory.mktemp("your-data")
    built = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for language, title, content in BLOCK.findall(PAGE):
            if language == "python":
                exec(compile(content, title, "exec"), {})
            elif title:
                Path(title).write_text(content, encoding="utf-8")
            elif language == "bash":
                program, *arguments = shlex.split(content)
                result = CliRunner().invoke(cli, arguments)
                assert program == "osparse" and result.exit_code == 0, result.output
                output = arguments[arguments.index("--output") + 1]
                built[output] = (Dataset.open(folder / output), result.output)
    return built


def documents(dataset: Dataset) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in dataset.documents.collect().to_dicts()}


def judged(dataset: Dataset) -> pl.DataFrame:
    """query_id, document_id, of all splits."""
    return pl.concat([dataset.qrels(split).collect() for split in dataset.splits]).select("query_id", "document_id")


def build(
    folder: Path, name: str, content: str, source: str, options: Mapping[str, str] | None = None, lang: str = ""
) -> Dataset:
    (folder / name).write_text(content, encoding="utf-8")
    return build_dataset(source, [folder / name], folder / f"{name}-dataset", options=options, lang=lang)


def test_the_page_has_an_example_of_every_shape(examples: dict[str, tuple[Dataset, str]]) -> None:
    names = {name.removeprefix("data/") for name in examples}
    assert names == {
        "faq", "products", "pairs", "scores", "mixed", "articles", "kitchen", "kitchen-numbers", "tickets", "articles-gb",
        "regale",
    }  # fmt: skip


def test_the_faq(examples: dict[str, tuple[Dataset, str]]) -> None:
    dataset, printed = examples["data/faq"]
    assert "columns of csv that were not read: agent, product" in printed and "queries en 3, ko 1" in printed
    queries = {row["id"]: row for row in dataset.queries.collect().to_dicts()}
    assert set(queries) == {"1041", "1042", "1043", "1044"}
    assert [queries[i]["lang"] for i in sorted(queries)] == ["en", "en", "ko", "en"]
    rows = dataset.documents.collect()
    assert rows.filter(pl.col("text").str.contains('"bank transfer"', literal=True)).height == 1
    assert sorted(map(str, rows["date"])) == ["2026-10-01", "2026-10-07", "2026-10-09", "2026-10-11"]
    assert rows["group"].n_unique() == 4


def test_the_other_examples(examples: dict[str, tuple[Dataset, str]]) -> None:
    products = documents(examples["data/products"][0])
    assert products["1"]["title"] == "Hiking boots" and products["3"]["lang"] == "ko"
    pairs = examples["data/pairs"][0]
    assert judged(pairs).height == 3 and "q1" in judged(pairs)["query_id"].to_list()
    scored = pl.concat([examples["data/scores"][0].candidates(s).collect() for s in examples["data/scores"][0].splits])
    assert set(scored["scorer"]) == {"cross-encoder", "teacher"} and sorted(scored["score"]) == [-2, 1.25, 8, 9.5]
    mixed = examples["data/mixed"][0]
    assert set(documents(mixed)) == {"boots", "sandals"} and judged(mixed)["document_id"].to_list() == ["boots"]
    assert documents(examples["data/articles"][0])["a1"]["title"] == "Tides"
    assert {row["lang"] for row in documents(examples["data/articles-gb"][0]).values()} == {"en-GB"}
    kitchen = documents(examples["data/kitchen"][0])
    assert kitchen["7"]["text"].startswith("A kettle") and str(kitchen["8"]["date"]) == "2026-10-02"
    assert "columns of jsonl that were not read: status" in examples["data/tickets"][1]
    german = documents(examples["data/regale"][0])
    assert str(german["A-1"]["date"]) == "2026-03-30" and {row["lang"] for row in german.values()} == {"de"}


def test_the_commands_to_a_served_model_can_be_pasted() -> None:
    lines = re.findall(r"^ *(osparse [^#\n]+)", "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.S)), re.M)
    assert len(lines) == 12
    for line in lines:
        made: click.Command | None = cli
        words = shlex.split(line)[1:]
        while isinstance(made, click.Group):
            made = made.get_command(click.Context(made), words.pop(0))
        assert made is not None
        made.make_context("osparse", words)


def test_a_csv_and_the_same_rows_as_json_are_the_same_dataset(tmp_path: Path) -> None:
    rows = [
        {"query": f"질문, {i}", "pos": f'답 "{i}"\n둘째 줄', "neg": f"다른 답 {i}", "date": "2026-01-02"}
        for i in range(30)
    ]
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in row.values()) for row in rows]
    csv = build(tmp_path, "a.csv", "\n".join([",".join(rows[0]), *lines]), "csv")
    jsonl = build(tmp_path, "a.jsonl", "\n".join(json.dumps(row) for row in rows), "jsonl")
    columns = ["id", "text", "title", "lang", "date", "group"]
    assert csv.documents.select(columns).collect().equals(jsonl.documents.select(columns).collect())
    assert csv.queries.collect().equals(jsonl.queries.collect())
    for split in jsonl.splits:
        assert csv.qrels(split).collect().equals(jsonl.qrels(split).collect())
        assert csv.candidates(split).collect().equals(jsonl.candidates(split).collect())


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_that_of_the_first_line(delimiter: str, tmp_path: Path) -> None:
    rows = [["id", "text", "title"], ["1", "a tree", "tree"], ["2", "", "x"], ["3", "a stone", ""]]
    content = "\ufeff" + "\r\n".join(delimiter.join(row) for row in rows) + "\r\n\r\n"
    dataset = build(tmp_path, "a.csv", content, "csv")
    assert {i: row["title"] for i, row in documents(dataset).items()} == {"1": "tree", "3": ""}
    assert dataset.manifest.sources[0].dropped == {"no text": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,text\n1,a,b\n", ":2: 3 cells, but the first line names 2 columns"),
        ('id,text\n1,a\n2,"open\nstill\n', ":3: not a row of cells separated by ','.*close every quote"),
        ('id,text\n1,"a" b\n', ":2: not a row of cells.*quotes=false"),
        ("id,id\n1,2\n", ":1: two columns are called id"),
        (
            "name,body\n1,2\n",
            r":2: none of its columns \(name, body\) is called text or query; name them with the option",
        ),
        ("query,docs,scores\nq,a,1\n", ":2: docs must be a list, found str"),
        ("text,title\na,b\n", ":2: a document row needs id, text"),
    ],
)
def test_a_malformed_csv_is_refused_with_its_line(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"a.csv{message}"):
        build(tmp_path, "a.csv", content, "csv")


def test_quotes_as_ordinary_characters(tmp_path: Path) -> None:
    dataset = build(tmp_path, "a.tsv", 'id\ttext\n1\t"a" tree\n2\t"open\n', "tsv", {"quotes": "false"})
    assert [row["text"] for row in documents(dataset).values()] == ['"a" tree', '"open']


@pytest.mark.parametrize(
    ("source", "name", "content", "advice"),
    [
        ("jsonl", "faq.csv", "question,answer\nq,a\n", "looks like CSV with the columns question, answer; read it with `source=csv`"),
        ("parquet", "faq.csv", "question;answer\nq;a\n", "looks like CSV .*`source=csv`"),
        ("gooaq", "faq.tsv", "question\tanswer\nq\ta\n", "looks like TSV .*`source=tsv`"),
        ("squad", "faq.csv", "question,answer\nq,a\n", "`source=csv`"),
        ("wikipedia", "faq.csv", "question,answer\nq,a\n", "`source=csv`"),
        ("csv", "rows.jsonl", '{"query": "q", "pos": "a"}\n', "looks like JSON lines; read it with `source=jsonl`"),
        ("tsv", "faq.csv", "query,pos\nq,a\n", "`source=csv`"),
    ],
)  # fmt: skip
def test_a_file_given_to_another_reader_is_recognised(
    source: str, name: str, content: str, advice: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=advice):
        build(tmp_path, name, content, source)


def test_parquet_given_to_another_reader_is_recognised(tmp_path: Path) -> None:
    pl.DataFrame({"id": ["1"], "text": ["a"]}).write_parquet(tmp_path / "a.csv")
    for source in ("csv", "jsonl"):
        with pytest.raises(DatasetError, match="looks like Parquet or Arrow; read it with `source=parquet`"):
            build_dataset(source, [tmp_path / "a.csv"], tmp_path / "dataset")


def test_a_mapped_column_that_no_row_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match="option columns reads title from the column head, but a pair row has no title"
    ):
        build(tmp_path, "a.csv", "query,pos,head\nq,a,h\n", "csv", {"columns": "title=head"})
    with pytest.raises(DatasetError, match="no column haed; it has: query, pos, head"):
        build(tmp_path, "a.csv", "query,pos,head\nq,a,h\n", "csv", {"columns": "date=haed"})
    with pytest.raises(DatasetError, match="no row has the field when"):
        build(tmp_path, "a.jsonl", '{"query": "q", "pos": "a"}\n', "jsonl", {"columns": "date=when"})
    with pytest.raises(InputError, match="option columns names query twice: a and b"):
        build(tmp_path, "a.csv", "a,b\n", "csv", {"columns": "query=a,query=b"})


def test_one_column_may_be_two_fields(tmp_path: Path) -> None:
    dataset = build(tmp_path, "a.csv", "name,text\nkettle,a kettle\n", "csv", {"columns": "id=name,title=name"})
    assert documents(dataset)["kettle"]["title"] == "kettle"


def test_documents_and_pairs_share_a_table(tmp_path: Path) -> None:
    pl.DataFrame(
        {
            "id": ["1", "2", None, None],
            "text": ["a tree", "a stone", None, None],
            "query": [None, None, "what grows?", "what falls?"],
            "pos": [None, None, ["a tree"], ["rain"]],
            "group": ["wood", None, None, "sky"],
            "note": ["x", None, None, None],
        }
    ).write_parquet(tmp_path / "a.parquet")
    dataset = build_dataset("parquet", [tmp_path / "a.parquet"], tmp_path / "dataset")
    rows = documents(dataset)
    rain = next(row for row in rows.values() if row["text"] == "rain")
    assert set(rows) == {"1", "2", rain["id"]} and rain["group"] == "sky"
    texts = dict(dataset.queries.select("id", "text").collect().iter_rows())
    assert {(texts[q], rows[d]["text"]) for q, d in judged(dataset).iter_rows()} == {
        ("what grows?", "a tree"),
        ("what falls?", "rain"),
    }
    assert dataset.manifest.notes["ignored_columns"] == {"parquet": ["note"]}


def test_pairs_of_one_group_stay_in_one_split(tmp_path: Path) -> None:
    rows = [{"query": f"query {i}", "pos": f"answer {i}", "group": i % 5} for i in range(100)]
    dataset = build(tmp_path, "a.jsonl", "\n".join(json.dumps(row) for row in rows), "jsonl")
    groups = [set(dataset.split_documents(split).collect()["group"]) for split in dataset.splits]
    assert len(dataset.splits) > 1 and sorted(sum(map(list, groups), [])) == ["0", "1", "2", "3", "4"]


def test_an_id_of_two_queries_is_refused_and_one_of_a_repeated_query_is_not(tmp_path: Path) -> None:
    rows = [{"id": 7, "query": "q", "pos": "a"}, {"id": 7, "query": "q", "pos": "b"}]
    assert judged(build(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)), "jsonl")).height == 2
    rows[1]["query"] = "r"
    with pytest.raises(DatasetError, match="b.jsonl:2: the id '7' was used before, at .*b.jsonl:1"):
        build(tmp_path, "b.jsonl", "\n".join(map(json.dumps, rows)), "jsonl")


def test_a_text_without_a_language_of_its_own_takes_that_of_the_others(tmp_path: Path) -> None:
    """A row's own, else the source's; a part number took its questions into a direction of their own."""
    pairs = [{"query": f"부품 {i}", "pos": f"부품 번호 {i}의 설명"} for i in range(40)]
    pairs += [{"query": "부품 번호는?", "pos": "12-345/6"}, {"query": "42", "pos": "17"}]
    dataset = build(tmp_path, "a.jsonl", "\n".join(json.dumps(row) for row in pairs), "jsonl")
    assert {*dataset.documents.collect()["lang"], *dataset.queries.collect()["lang"]} == {"ko"}
    assert {found.direction for found in open_benchmark(dataset.path).sets} == {"ko->ko"}
    half = [{"id": str(i), "text": "글" if i % 2 else "text"} for i in range(20)]
    mixed = build(
        tmp_path, "b.jsonl", "\n".join(json.dumps(row) for row in [*half, {"id": "n", "text": "17"}]), "jsonl"
    )
    assert documents(mixed)["n"]["lang"] == "und", "it cannot be known"


def test_a_source_in_an_unknown_language_is_of_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"id": str(i), "text": "日本語" if i else "OpenSearch"} for i in range(9)]
    content = "\n".join(json.dumps(row) for row in rows)
    dataset = build(tmp_path, "a.jsonl", content, "jsonl")
    assert {row["lang"] for row in documents(dataset).values()} == {"und"}
    assert (
        "documents of jsonl: the language of 9 of 9 texts cannot be detected (und); name it with `lang`" in caplog.text
    )
    named = build(tmp_path, "b.jsonl", content, "jsonl", lang="zh")
    assert {row["lang"] for row in documents(named).values()} == {"zh"}


def test_the_text_of_several_columns(examples: dict[str, tuple[Dataset, str]]) -> None:
    texts = examples["data/kitchen-numbers"][0].documents.collect()["text"].to_list()
    assert sorted(texts) == ["A kettle of steel, 1.7 l. (number 7)", "A pan of cast iron, 28 cm. (number 8)"]
