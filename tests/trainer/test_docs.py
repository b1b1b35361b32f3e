"""docs/training.md tells the truth: its example runs, its tables are those of the code, its commands exist."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import settings_table
import small_run
import world
from click.testing import CliRunner

from osparse.cli.main import cli

TEXT = settings_table.DOCS.read_text(encoding="utf-8")


def test_the_settings_are_those_of_the_code() -> None:
    assert settings_table.renewed(TEXT) == TEXT, "run: python tests/support/settings_table.py"


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    inputs = small_run.write_inputs(tmp_path / "build" / "quickstart" / "tokenizer")
    shutil.copy(inputs.with_name("idf.json"), tmp_path / "build" / "quickstart" / "idf.json")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quickstart.yaml").write_text(inputs.read_text(encoding="utf-8"), encoding="utf-8")
    world.make_dataset(tmp_path / "build" / "quickstart" / "dataset")
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(compile(code, "docs/training.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "validation nDCG@10" in shown and "tensor(" in shown


def test_its_commands_and_options_exist() -> None:
    shown = CliRunner().invoke(cli, ["train", "--help"]).output
    calls = re.findall(r"osparse train (?:[^\n`;&]|\\\n)*", TEXT)
    options = {
        option for part in [*calls, *re.findall(r"`--[a-z-]+`", TEXT)] for option in re.findall(r"--[a-z-]+", part)
    }
    assert {"--dry-run", "--resume", "--set", "--dataset", "--output"} <= options
    for option in options - {"--json"}:
        assert option in shown, option
    for config in re.findall(r"configs/\w+\.yaml", TEXT):
        assert (settings_table.ROOT / config).is_file(), config
