"""The settings tables of docs/training.md, made from trainer/config: what a test compares, and how to renew them.

python tests/support/settings_table.py
"""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "training.md"
BEGIN, END = "<!-- settings: made by tests/support/settings_table.py -->", "<!-- end of settings -->"
FILES = ("config/run_config.py", "config/stage_config.py")
BASE = "Steps"
"""Its settings stand in the tables of the stages derived from it."""
SECTIONS = [
    ("TrainConfig", "The file"), ("EncoderConfig", "`encoder`"), ("HeadConfig", "`head`"), ("LexicalConfig", "`lexical_table`"),
    ("LoopConfig", "`loop`"),
    ("WarmStart", "`stages`: `task: warm_start`"), ("MaskedLm", "`stages`: `task: mlm`"),
    ("Ranking", "`stages`: `task: ranking`"), ("Distillation", "`distillation` of a ranking stage"),
    ("QueryFeedback", "`feedback` of a ranking stage"),
    ("Matryoshka", "`matryoshka` of a ranking stage"),
    ("Teacher", "`teachers` of a distillation"), ("Mixing", "`mixing` of a stage"), ("SourceCap", "`caps` of a mixing"),
    ("SparsityConfig", "`sparsity`"), ("DfFlops", "`df` of sparsity"), ("Alarms", "`alarms` of sparsity"),
    ("ValidationConfig", "`validation`"),
]  # fmt: skip


def tables() -> str:
    """Markdown: a table per dataclass of the configuration."""
    import osparse.trainer.config.run_config as config

    sources = [ast.parse((ROOT / "trainer" / name).read_text(encoding="utf-8")) for name in FILES]
    classes = {node.name: node for source in sources for node in source.body if isinstance(node, ast.ClassDef)}
    unlisted = classes.keys() - {name for name, _ in SECTIONS} - {BASE}
    if unlisted:
        raise ValueError(f"give {', '.join(sorted(unlisted))} a section in tests/support/settings_table.py")
    parts = []
    for name, title in SECTIONS:
        parts += [
            f"### {title}",
            "",
            ast.get_docstring(classes[name]) or "",
            "",
            *_rows(
                [classes[kind.__name__] for kind in reversed(getattr(config, name).__mro__[:-1])], getattr(config, name)
            ),
            "",
        ]
    return "\n".join(parts).strip()


def _rows(nodes: list[ast.ClassDef], kind: Any) -> list[str]:
    """``nodes``: those of the class and of what it is derived from, the most general first."""
    told = {}
    for node in nodes:
        last = ""
        for part in node.body:
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                last = part.target.id
                told[last] = (ast.unparse(part.annotation), "")
            elif isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant) and last:
                told[last] = (told[last][0], " ".join(str(part.value.value).split()))
    rows = ["| key | type | range | default | meaning |", "|---|---|---|---|---|"]
    for field in dataclasses.fields(kind):
        if field.name == "task":
            continue
        type_, text = told[field.name]
        rows.append(f"| `{field.name}` | {_cell(_type(type_))} | {_range(field)} | {_default(field)} | {_cell(text)} |")
    return rows


def _type(annotation: str) -> str:
    literal = re.fullmatch(r"Literal\[(.*)\]", annotation)
    if literal:
        return literal[1].replace("'", "")
    annotation = re.sub(r"Literal\['(\w+)'\]", r"\1", annotation)
    for name, _ in SECTIONS:
        annotation = re.sub(rf"\b{name}\b", "mapping", annotation)
    annotation = (
        annotation.replace("mapping | mapping | mapping", "stages").replace("Path", "path").replace("str", "text")
    )
    if annotation == "Activation":
        return "log1p_relu, log1p_log1p_relu"
    listed = re.fullmatch(r"tuple\[(.*), \.\.\.\]", annotation)
    return (
        f"list of {listed[1].replace('mapping', 'mappings')}"
        if listed
        else annotation.replace("| None", "or null").replace("None", "null")
    )


def _range(field: Any) -> str:
    low, high = field.metadata.get("low"), field.metadata.get("high")
    if low is None and high is None:
        return ""
    left = "(" if field.metadata.get("above") else "["
    return f"{left}{low}, {'inf)' if high is None else f'{high}]'}"


def _default(field: Any) -> str:
    if field.default is dataclasses.MISSING:
        return "must be given"
    if dataclasses.is_dataclass(field.default):
        return "as below"
    plain = {None: "null", True: "true", False: "false", (): "none"}
    return plain[field.default] if type(field.default) in (bool, type(None), tuple) else str(field.default)


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "or")


def renewed(text: str) -> str:
    """The page with its tables made again."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    page = renewed(DOCS.read_text(encoding="utf-8"))
    DOCS.write_text(page, encoding="utf-8")
    sys.stdout.write(f"{DOCS} is renewed\n")
