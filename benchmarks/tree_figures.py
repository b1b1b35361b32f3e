"""Figures of the source tree at some commits, as the table of docs/architecture.md.

    python benchmarks/tree_figures.py ae2fe35 HEAD

Counts the packages' Python files (no tests, benchmarks or examples). A function is counted with its nested ones, from
``def`` to its last line, without decorators. Public names are those of ``__all__`` in the packages' ``__init__``.
"""

from __future__ import annotations

import ast
import io
import statistics
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("corpus", "deployer", "opensearch_templates", "packager", "retrieval", "src/osparse", "trainer")


def sources(commit: str) -> dict[str, str]:
    """Path -> text of the packages' Python files."""
    command = ["git", "archive", commit, *PACKAGES]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    texts = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.name.endswith((".py", ".pyi")) else None
            if content is not None:
                texts[member.name] = content.read().decode("utf-8")
    return texts


def function_lines(text: str) -> list[int]:
    nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return [(node.end_lineno or node.lineno) - node.lineno + 1 for node in nodes]


def any_annotations(text: str) -> int:
    """Parameters, variables and fields annotated as plain ``Any``."""
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.arg | ast.AnnAssign)]
    return sum(node.annotation is not None and ast.unparse(node.annotation) == "Any" for node in nodes)


def public_names(texts: dict[str, str]) -> int:
    """Of the packages' stubs, or of their ``__init__.py`` where they have none."""
    total = 0
    for package in PACKAGES:
        text = texts.get(f"{package}/__init__.pyi") or texts[f"{package}/__init__.py"]
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                total += len(ast.literal_eval(node.value))
    return total


def percentile(values: list[int], share: float) -> int:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def figures(commit: str) -> dict[str, str]:
    texts = sources(commit)
    modules = {path: text for path, text in texts.items() if path.endswith(".py")}
    lines = {path: text.count("\n") for path, text in modules.items() if Path(path).name != "__init__.py"}
    functions = [length for text in modules.values() for length in function_lines(text)]
    lengths = percentile(functions, 0.5), percentile(functions, 0.9), max(functions)
    largest = max(lines, key=lambda path: lines[path])
    return {
        "files (without `__init__.py`)": f"{len(lines)}",
        "lines": f"{sum(lines.values()):,}",
        "file, median lines": f"{statistics.median(lines.values()):g}",
        "file, most lines": f"{lines[largest]} (`{largest}`)",
        "functions": f"{len(functions):,}",
        "function, p50 / p90 / max lines": " / ".join(map(str, lengths)),
        "`: Any`": f"{sum(any_annotations(text) for text in modules.values())}",
        "most modules in a folder": f"{most_in_a_folder(list(lines))}",
        "public names": f"{public_names(texts)}",
    }


def most_in_a_folder(paths: list[str]) -> int:
    folders = [str(Path(path).parent) for path in paths]
    return max(folders.count(folder) for folder in set(folders))


def main(commits: list[str]) -> None:
    columns = [figures(commit) for commit in commits]
    print(f"| | {' | '.join(f'`{commit}`' for commit in commits)} |")
    print("|---" * (len(commits) + 1) + "|")
    for name in columns[0]:
        print(f"| {name} | {' | '.join(column[name] for column in columns)} |")


if __name__ == "__main__":
    main(sys.argv[1:] or ["HEAD"])
