"""Help ends with an example, at every level."""

from __future__ import annotations

import re
import shlex

import pytest
from click.testing import CliRunner

from osparse.cli.main import cli


@pytest.mark.parametrize("group", [[], ["node"], ["corpus"]])
def test_a_group_shows_examples_that_are_commands(group: list[str]) -> None:
    shown = CliRunner().invoke(cli, [*group, "--help"]).stdout
    examples = re.findall(r"^ +osparse (.+)$", shown.partition("Examples:")[2], re.MULTILINE)
    assert len(examples) >= 2
    for example in examples:
        words = shlex.split(example)
        assert words[: len(group)] == group
        if words[0] != "COMMAND":
            made = CliRunner().invoke(cli, [*words, "--help"])
            assert made.exit_code == 0, f"{example}: {made.output}"


def test_idf_help_shows_the_options_of_counting() -> None:
    """`osparse idf DATASET` counts, so the options of counting are those that are looked for there."""
    shown = CliRunner().invoke(cli, ["idf", "--help"]).stdout
    for option in ("--tokenizer", "--output", "--half-life", "--max-boost", "--trends"):
        assert option in shown, option
    assert "[default: 2.0]" in " ".join(shown.split()) and "diff" in shown
