"""The repository is what the design says: listed packages, one-way imports, a light command line."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import osparse
from osparse.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("corpus", "trainer", "packager", "deployer", "retrieval", "opensearch_templates", "configs")
MAY_IMPORT = {"retrieval": {"deployer", "opensearch_templates"}, "deployer": {"opensearch_templates"}}
CALLERS = ("cli", "integrations")
"""Folders of src/osparse that call the packages: the command line, and what other engines run."""
HEAVY = ("torch", "transformers", "polars", "onnxruntime", "opensearchpy", "scipy", "pyarrow")


def test_every_package_folder_is_listed() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = set()
    for name, folder in tool["package-dir"].items():
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT / folder).parts
            if not (name == "osparse" and parts and parts[0] in ROOMS):  # the git-ignored links
                found.add(".".join([name, *parts]))
    assert found == set(tool["packages"])


def module_of(path: Path) -> list[str]:
    """The package a file lies in: what its relative imports start from."""
    parts = path.relative_to(ROOT).parent.parts
    return ["osparse", *(parts[2:] if parts[:2] == ("src", "osparse") else parts)]


def imports_of(path: Path, text: str | None = None) -> Iterator[str]:
    """Absolute names of all modules a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text() if text is None else text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module_of(path)
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def test_a_relative_import_is_seen_by_its_absolute_name() -> None:
    text = "from ..trainer.loop import a\nfrom .. import packager\ndef f():\n from . import b\n from .c import d\n"
    assert set(imports_of(ROOT / "corpus" / "made_up.py", text)) == {
        "osparse.trainer.loop", "osparse.trainer.loop.a", "osparse", "osparse.packager",
        "osparse.corpus", "osparse.corpus.b", "osparse.corpus.c", "osparse.corpus.c.d",
    }  # fmt: skip
    core = ROOT / "src" / "osparse" / "made_up.py"
    assert "osparse.corpus.idf" in set(imports_of(core, "from .corpus.idf import x"))
    assert "osparse.commands.idf" in set(imports_of(core.parent / "commands" / "m.py", "from . import idf"))


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_do_not_import_each_other(room: str) -> None:
    allowed = MAY_IMPORT.get(room, set()) | {room}
    for path in (ROOT / room).rglob("*.py"):
        for name in imports_of(path):
            parts = name.split(".")
            if parts[0] == "osparse" and len(parts) > 1:
                assert parts[1] not in set(ROOMS) - allowed, f"{path.relative_to(ROOT)} imports {name}"
                assert parts[1] not in CALLERS, f"{path.relative_to(ROOT)} imports {name}"


def folder_of(module: str) -> str:
    """The shelf of a module: room.folder within a room, else the folder of the core."""
    parts = module.split(".")[1:]
    return ".".join(parts[: 2 if parts[:1] and parts[0] in ROOMS else 1])


def test_folders_import_each_other_in_one_direction() -> None:
    """Within a package and across packages: a folder that is imported never imports back, directly or through others."""
    uses: dict[str, set[str]] = {}
    for path in [*core(("cli",)), *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))]:
        if path.name == "__init__.py":
            continue
        relative = path.relative_to(ROOT / "src" / "osparse" if path.is_relative_to(ROOT / "src") else ROOT)
        here = folder_of(".".join(("osparse", *relative.with_suffix("").parts)))
        modules = (name for name in imports_of(path) if name.startswith("osparse."))
        uses.setdefault(here, set()).update(folder_of(name) for name in modules)
    order = TopologicalSorter({here: used - {here} for here, used in uses.items()})
    order.prepare()  # raises CycleError, which names the cycle


def test_no_folder_is_a_heap_of_modules() -> None:
    for room in (*ROOMS, "src/osparse"):
        for folder in {path.parent for path in (ROOT / room).rglob("*.py") if not path.parent.is_symlink()}:
            if folder.name != "commands":  # one file per command
                modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
                assert len(modules) <= 12, f"{folder.relative_to(ROOT)} has {len(modules)} modules"


def core(without: tuple[str, ...] = CALLERS) -> list[Path]:
    """Every module of src/osparse, sub-packages too, but the links to the rooms and some folders."""
    source = ROOT / "src" / "osparse"
    found = [path for path in source.rglob("*.py") if path.relative_to(source).parts[0] not in (*ROOMS, *without)]
    assert source / "errors.py" in found
    return found


def test_the_shared_core_imports_no_room() -> None:
    for path in core():
        for name in imports_of(path):
            upwards = name.startswith("osparse.") and name.split(".")[1] in (*ROOMS, "integrations")
            assert not upwards, f"{path.name} imports {name}"


@pytest.mark.parametrize("room", ["deployer", "retrieval", "opensearch_templates"])
def test_the_deploy_side_names_no_torch_at_import(room: str) -> None:
    code = f"import osparse.{room}, sys; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def run_help(*arguments: str) -> str:
    code = (
        "import sys; from osparse.cli.main import main\n"
        f"try: main({list(arguments)!r})\n"
        f"finally: print('LOADED', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_help_loads_nothing_heavy() -> None:
    assert run_help("--help").endswith("LOADED []\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_loads_nothing_heavy(name: str) -> None:
    text = run_help(name, "--help")
    assert text.endswith("LOADED []\n")
    groups = {
        "corpus": ["build", "stats", "tokenizer"],
        "node": ["up", "down", "status", "logs"],
        "judge": ["pool", "import"],
    }
    for sub in groups.get(name, []):
        text = run_help(name, sub, "--help")
        assert "Examples:" in text, f"osparse {name} {sub} --help shows no example"
    assert name in groups or "Examples:" in text


def test_changelog_and_version_agree() -> None:
    newest = re.search(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest and newest[1] == osparse.__version__
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in pyproject["project"]["dynamic"]
    assert pyproject["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "osparse.__version__"}


ARRAYS = ("ndarray", "NDArray", "Tensor", "pl.LazyFrame", "pl.DataFrame", "Ids", "csr_matrix", "csr_array")
"""Types whose ``==`` gives no bool: a dataclass that compares its fields would raise."""


def test_a_dataclass_with_arrays_is_compared_by_identity() -> None:
    for path in [*core(("cli",)), *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any(has_arrays(field) for field in node.body):
                decorators = [ast.unparse(made) for made in node.decorator_list]
                compared = [made for made in decorators if "dataclass" in made and "eq=False" not in made]
                assert not compared, f"{path}:{node.lineno}: {node.name} holds arrays: @dataclass(eq=False)"


def has_arrays(field: ast.stmt) -> bool:
    if not isinstance(field, ast.AnnAssign) or "Callable" in ast.unparse(field.annotation):
        return False
    names = {ast.unparse(node) for node in ast.walk(field.annotation) if isinstance(node, (ast.Name, ast.Attribute))}
    return bool({name.removeprefix("np.").removeprefix("torch.") for name in names} & set(ARRAYS))
