"""README.ko.md keeps step with README.md, and both with the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from osparse.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
ENGLISH, KOREAN = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md"))


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language; "" is output and file lists."""
    return [
        code for name, code in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE) if name == language
    ]


def headings(text: str) -> list[int]:
    """Levels, in order."""
    return [len(level) for level in re.findall(r"^(#+) ", without_code(text), re.MULTILINE)]


def commands(text: str) -> list[str]:
    """The lines of every shell block, without their comments."""
    return [re.sub(r"\s+# .*", "", line) for block in blocks(text, "sh") for line in block.splitlines()]


def rows(text: str) -> list[tuple[list[str], list[str]]]:
    """Figures, and code and links, of each table row."""
    lines = [line for line in without_code(text).splitlines() if line.startswith("|")]
    return [(sorted(re.findall(r"\d[\d.,]*\d|\d", line)), re.findall(r"`[^`]+`|\]\([^)]+\)", line)) for line in lines]


def links(text: str) -> set[str]:
    return set(re.findall(r"\]\(([^)#]+)\)", text)) - {"README.md", "README.ko.md"}


def printed(text: str) -> list[str]:
    """Blocks that show a command's output."""
    return [block for block in blocks(text, "") if "corpus/ " not in block]


def test_the_korean_readme_has_the_english_one_s_headings_commands_figures_and_links() -> None:
    assert headings(KOREAN) == headings(ENGLISH)
    assert commands(KOREAN) == commands(ENGLISH)
    assert rows(KOREAN) == rows(ENGLISH)
    assert links(KOREAN) == links(ENGLISH)
    assert printed(KOREAN) == printed(ENGLISH) and len(printed(ENGLISH)) == 2


def test_a_change_in_one_of_them_is_seen() -> None:
    changed = ENGLISH.replace("make quickstart   #", "make start   #").replace("| 0.765 |", "| 0.865 |")
    assert commands(changed) != commands(KOREAN) and rows(changed) != rows(KOREAN)
    assert headings(ENGLISH + "\n## More\n") != headings(KOREAN)


@pytest.mark.parametrize("text", [ENGLISH, KOREAN], ids=["README.md", "README.ko.md"])
def test_what_a_readme_names_is_there(text: str) -> None:
    for link in links(text):
        assert (ROOT / link).exists(), link
    for name in COMMANDS:
        assert f"osparse {name}" in text, name
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"`?make ([a-z-]+)`?", "\n".join(commands(text)))) <= set(targets)


def test_the_commands_are_the_quickstart_s() -> None:
    """Every osparse command of the script is shown with the options that the script gives it."""
    script = (ROOT / "examples" / "quickstart.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    shown = " ".join(commands(ENGLISH)).replace("\\", " ")
    for kind in ("corpus build", "corpus tokenizer", "idf", "train", "package", "node up", "deploy", "index", "search"):
        assert f"osparse {kind} " in script and f"osparse {kind} " in shown, kind
    for option in ("--vocab-size 16000", "--source debian", "osparse train quickstart", "--baseline bm25"):
        assert option in script and option in shown, option
