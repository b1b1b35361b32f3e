"""What meets somebody who builds a dataset of a spreadsheet for the first time, and what the build says of it."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import click
import polars as pl
import pytest
from click.testing import CliRunner, Result

from osparse.cli.main import cli
from osparse.contracts.dataset import Dataset
from osparse.corpus import build_dataset
from osparse.corpus.sources.dates import likely_formats
from osparse.errors import DatasetError


def rows_file(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


def build(output: Path, *arguments: str | Path) -> Result:
    words = ["corpus", "build", *map(str, arguments), "--output", str(output)]
    return CliRunner().invoke(cli, words, catch_exceptions=False, standalone_mode=False)


@pytest.mark.parametrize(
    ("encoding", "name", "content"),
    [
        ("cp949", "CP949", "질문,답\n비밀번호를 잊었어요,설정에서 바꾸십시오\n"),
        ("cp1252", "WINDOWS-1252", "frage,antwort\nWo ändere ich das Paßwort?,Unter Menü\n"),
        ("utf-16", "UTF-16", "질문,답\n비밀번호,설정\n"),
    ],
)
def test_another_encoding_is_named_with_a_command_that_converts_it(
    encoding: str, name: str, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my faq.csv").write_bytes(content.encode(encoding))
    with pytest.raises(DatasetError, match=r"my faq.csv:\d: not UTF-8: .* it looks like " + name) as caught:
        build_dataset("csv", ["my faq.csv"], "dataset", options={"columns": "query=질문,pos=답"})
    command = str(caught.value).partition("convert the file: ")[2]
    assert shlex.split(command)[0] == "iconv"
    subprocess.run(command, shell=True, check=True)
    assert (tmp_path / "my faq.utf8.csv").read_text(encoding="utf-8-sig") == content


@pytest.mark.parametrize(
    ("written", "proposed"),
    [
        ("30.03.2025", ["%d.%m.%Y"]),
        ("2025. 3. 30", ["%Y. %m. %d"]),
        ("2025/03/30 14:05", ["%Y/%m/%d %H:%M"]),
        ("03/04/2025", ["%d/%m/%Y", "%m/%d/%Y"]),
        ("3월", []),
    ],
)
def test_dates_are_read_as_they_are_written(written: str, proposed: list[str], tmp_path: Path) -> None:
    assert likely_formats(written) == proposed
    path = rows_file(tmp_path / "rows.jsonl", [{"id": "1", "text": "a tree", "date": written}])
    hint = " or ".join(f"date_format={one}" for one in proposed) or "date_format="
    with pytest.raises(DatasetError, match="rows.jsonl:1: date must begin as YYYY-MM-DD") as caught:
        build_dataset("jsonl", [path], tmp_path / "dataset")
    assert hint in str(caught.value)
    for number, one in enumerate(proposed):
        made = build_dataset("jsonl", [path], tmp_path / str(number), options={"date_format": one})
        (day,) = made.documents.collect()["date"]
        assert {day.month, day.day} <= {3, 4, 30} and day.year == 2025
    with pytest.raises(DatasetError, match="is not written as date_format=%d-%m-%y says"):
        build_dataset("jsonl", [path], tmp_path / "dataset", options={"date_format": "%d-%m-%y"})


def judged(dataset: Dataset) -> set[tuple[str, str]]:
    return set(pl.concat([dataset.qrels(s).select("query_id", "document_id").collect() for s in dataset.splits]).rows())


def test_a_title_answers_its_document_and_translations_and_not_a_category(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"id": f"{group}-{lang}", "text": f"text {group} {lang}", "title": f"{group} {lang}", "lang": lang, "group": group}
        for group in ("a", "b")
        for lang in ("en", "ko")
    ]  # fmt: skip
    translated = build_dataset("jsonl", [rows_file(tmp_path / "a.jsonl", rows)], tmp_path / "a")
    pairs = [("en", "en"), ("en", "ko"), ("ko", "en"), ("ko", "ko")]
    assert judged(translated) == {(f"{g}-{asked}:q", f"{g}-{answer}") for g in "ab" for asked, answer in pairs}
    rows.append({**rows[0], "id": "a-en2", "text": "another text"})  # two texts of one language: not translations
    category = build_dataset("jsonl", [rows_file(tmp_path / "b.jsonl", rows)], tmp_path / "b")
    own = {(f"{row['id']}:q", str(row["id"])) for row in rows if row["group"] == "a"}
    assert {pair for pair in judged(category) if pair[0].startswith("a")} == own


def test_a_group_that_is_a_category_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows: list[dict[str, object]] = [
        {"query": f"q {i}", "pos": f"a {i}", "group": f"shelf {i % 5}"} for i in range(120)
    ]
    build_dataset("jsonl", [rows_file(tmp_path / "a.jsonl", rows)], tmp_path / "a")
    assert "120 rows name 5 groups, such as 'shelf 0'" in caplog.text and "leave `group` out" in caplog.text
    caplog.clear()
    build_dataset("jsonl", [rows_file(tmp_path / "b.jsonl", rows[:40])], tmp_path / "b")
    several = [{**row, "group": f"thread {number // 2}"} for number, row in enumerate(rows)]
    build_dataset("jsonl", [rows_file(tmp_path / "c.jsonl", several)], tmp_path / "c")
    assert "leave `group` out" not in caplog.text


GERMAN = "Die Schuhe sind wasserdicht und haben eine feste Sohle, auch in Größe {}"
ENGLISH = "The boots are waterproof and have a stiff sole, also in the size {}"


@pytest.mark.parametrize(("text", "warned"), [(GERMAN, True), (ENGLISH, False)])
def test_a_language_that_looks_like_english_is_told(text: str, warned: bool, tmp_path: Path) -> None:
    path = rows_file(tmp_path / "rows.jsonl", [{"id": i, "text": text.format(i), "title": f"{i}"} for i in range(30)])
    shown = build(tmp_path / "dataset", "--source", "jsonl", path)
    said = "30 texts are taken for English by their letters, but only 0 % of the longer ones"
    assert (said in shown.stderr) == warned and ("name their language with --lang" in shown.stderr) == warned
    assert "languages: documents en 30; queries en 30" in shown.stdout
    assert f"next: osparse train quickstart --dataset {tmp_path / 'dataset'} --output MODEL" in shown.stdout


def test_scores_that_are_given_twice_are_averaged_and_said(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"query": "q", "docs": ["a", "b"], "scores": scores} for scores in ([4, 1], [2, 1], [3, 4])
    ]
    rows.append({"query": "q", "docs": ["a", "b"], "scores": [9, 9], "teacher": "another"})
    shown = build(tmp_path / "dataset", "--source", "jsonl", rows_file(tmp_path / "rows.jsonl", rows))
    assert "scores of one query and text by one teacher, averaged: 3" in shown.stdout  # [2, 1] repeats b's 1
    made = Dataset.open(tmp_path / "dataset")
    (split,) = made.splits
    found = made.candidates(split).collect().group_by("scorer").agg(pl.col("score").sort())
    assert dict(found.iter_rows()) == {"teacher": [2.5, 3.0], "another": [9.0, 9.0]}


def test_the_next_step_fits_the_dataset(tmp_path: Path) -> None:
    few: list[dict[str, object]] = [{"id": i, "text": f"text {i}", "title": f"title {i}"} for i in range(12)]
    path = rows_file(tmp_path / "few.jsonl", few[:4])
    shown = build(tmp_path / "few", "--source", "jsonl", path).stdout
    assert "no pairs are in" in shown
    seed = shown.rpartition("--seed ")[2].split()[0]
    again = build(tmp_path / "few", "--source", "jsonl", path, "--seed", seed, "--overwrite").stdout
    assert "next: osparse train quickstart" in again
    texts = rows_file(tmp_path / "texts.jsonl", [{"id": "1", "text": "a tree"}])
    assert "next: there are no queries" in build(tmp_path / "texts", "--source", "jsonl", texts).stdout


def test_notes_name_flags_only_on_the_command_line() -> None:
    import logging

    from osparse.cli.main import _NoteFormatter

    record = logging.LogRecord("osparse", logging.WARNING, "", 0, "name it with `lang`, not `x`", None, None)
    formatter = _NoteFormatter("%(message)s")
    assert formatter.format(record) == "name it with `lang`, not `x`"
    option = click.Option(["--lang"])
    with click.Context(click.Command("build", params=[option])):
        assert formatter.format(record) == "name it with --lang, not `x`"
