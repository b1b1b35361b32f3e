"""A missing extra is one sentence with the pip command, whatever part of osparse needs it."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from osparse.cli.main import COMMANDS
from osparse.contracts.dataset import Dataset
from osparse.errors import MissingExtraError
from osparse.plugins.extras import EXTRAS, check, extra_of, require

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("src/osparse", "corpus", "trainer", "packager", "deployer", "retrieval")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DISTRIBUTIONS = importlib.metadata.packages_distributions()
INSIDE = {"jpype": {"java", "org", "ai"}, "torch": {"triton"}}
"""Packages that a module brings into being: Java's, once JPype runs; Triton is installed with torch for CUDA."""


def distributions(requirements: list[str]) -> set[str]:
    return {name.split(">")[0].split("[")[0].lower().replace("_", "-") for name in requirements}


def provides(module: str, names: set[str]) -> bool:
    return any(name.lower().replace("_", "-") in names for name in DISTRIBUTIONS.get(module, [module]))


def imports(path: Path) -> Iterator[tuple[int, str, bool]]:
    """(line, top-level module, whether it is imported with the file) of everything that is not osparse's."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {id(n) for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef, ast.If)) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            if top not in {*sys.stdlib_module_names, "osparse"}:
                yield node.lineno, top, id(node) not in inner


def files() -> Iterator[Path]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if room != "src/osparse" or path.relative_to(ROOT / room).parts[0] not in ROOMS:
                yield path


def test_the_table_is_that_of_the_project() -> None:
    declared = {extra: distributions(names) for extra, names in PROJECT["optional-dependencies"].items()}
    assert set(EXTRAS) == set(declared) - {"dev", "docs", "release", "all"}
    for extra, modules in EXTRAS.items():
        assert [module for module in modules if not provides(module, declared[extra])] == []


def test_everything_that_is_imported_is_declared() -> None:
    base = distributions(PROJECT["dependencies"])
    known = {module for modules in EXTRAS.values() for module in modules} | {m for ms in INSIDE.values() for m in ms}
    for path in files():
        for line, module, _ in imports(path):
            assert module in known or provides(module, base), f"{path}:{line} imports {module}, which nothing installs"


def test_what_require_names_is_in_that_extra() -> None:
    for path in files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("require", "check") and len(node.args) == 2:
                module, extra = node.args
                if isinstance(module, ast.Constant) and isinstance(extra, ast.Constant):
                    assert str(module.value).partition(".")[0] in EXTRAS[str(extra.value)], f"{path}:{node.lineno}"


def test_the_base_install_imports_no_extra_with_a_file() -> None:
    """Corpus, deployer and retrieval work without torch: what they need of an extra they ask for when they need it."""
    extras = {module for modules in EXTRAS.values() for module in modules}
    for path in files():
        if path.relative_to(ROOT).parts[0] in ("corpus", "deployer", "retrieval"):
            found = [(line, module) for line, module, at_once in imports(path) if at_once and module in extras]
            assert found == [], path


BLOCKED = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_be_loaded_without_any_extra(command: str) -> None:
    blocked = {module for modules in EXTRAS.values() for module in modules}
    code = (
        BLOCKED.format(blocked=blocked) + f"from osparse.cli.main import cli; assert cli.get_command(None, {command!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


WITHOUT_EXTRAS = """
from pathlib import Path
import sys, polars as pl
from osparse.contracts.dataset import Dataset
from osparse.deployer.load.documents import count_documents, read_documents
from osparse.evaluation.measures import NDCG, measure, open_benchmark
from osparse.io.tables import row_batches
import osparse.deployer, osparse.retrieval, osparse.contracts.bundle, osparse.encoders.onnx_encoder
dataset, folder = Path(sys.argv[1]), Path(sys.argv[2])
benchmark = open_benchmark(dataset)
judged = benchmark.sets[0]
assert measure(judged.qrels, {q: sorted(d) for q, d in judged.qrels.items()}).mean(NDCG) > 0
documents = list(read_documents([dataset]))
assert len(documents) == sum(map(len, row_batches(Dataset.open(dataset).documents, 7))) > 0
frame = pl.DataFrame({"id": ["a", "b"], "text": ["x", "y"]})
frame.write_parquet(folder / "d.parquet"); frame.write_ipc(folder / "d.ipc"); frame.write_ipc_stream(folder / "d.arrow")
paths = [folder / name for name in ("d.parquet", "d.ipc", "d.arrow")]
assert [d.id for d in read_documents(paths)] == ["a", "b"] * 3 and count_documents(paths) == 6
print(sorted(set(sys.argv[3:]) & set(sys.modules)))
"""


def test_deploying_loading_and_evaluating_work_without_any_extra(dataset: Dataset, tmp_path: Path) -> None:
    """Neither pyarrow nor scipy nor ir-measures: Polars reads what the deploy side reads."""
    blocked = {module for modules in EXTRAS.values() for module in modules}
    assert {"pyarrow", "scipy", "ir_measures", "torch"} <= blocked
    code = BLOCKED.format(blocked=blocked) + WITHOUT_EXTRAS
    done = subprocess.run(
        [sys.executable, "-c", code, str(dataset.path), str(tmp_path), *blocked], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.parametrize(
    ("call", "extra"),
    [
        ("from osparse.corpus.synonyms.word_vectors import *; ppmi_vectors([], Vocabulary((), None), None)", "corpus"),
        ("from osparse.corpus.synonyms.clusters import METHODS; METHODS['hdbscan'](None, 0.5)", "corpus"),
        (
            "from osparse.corpus.terms.idf_diff import _spearman; import numpy as n; _spearman(n.arange(3.0), n.arange(3.0))",
            "corpus",
        ),
        (
            "from osparse.contracts.dataset import save_dataset; from pathlib import Path; "
            "save_dataset(Path('x'), documents=None, queries=None, qrels={}, sources=[], split_rule='', seed=0)",
            "corpus",
        ),
        ("from osparse.corpus.terms.trends import compare; compare(['a'], {'a': (1, 1)}, 1, 1)", "corpus"),
        ("from osparse.charts.fonts import hangul_font; hangul_font()", "corpus"),
        ("from osparse.corpus.mining.retrievers import Bm25Retriever; list(Bm25Retriever().rank({}, [], 1))", "corpus"),
    ],
)
def test_a_part_whose_extra_is_missing_says_so(call: str, extra: str) -> None:
    code = BLOCKED.format(blocked=set(EXTRAS[extra])) + (
        "from osparse.errors import MissingExtraError\n"
        f"try:\n    exec({call!r})\nexcept MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"pip install 'osparse[{extra}]'" in done.stdout


def test_an_import_that_nobody_asked_for_is_told_as_an_extra_too() -> None:
    """The last resort of the command line, for an import without ``require``."""
    code = BLOCKED.format(blocked={"sklearn"}) + (
        "import click, osparse.cli.commands.doctor as doctor, osparse.cli.main as cli\n"
        "def fail(*a, **k): import sklearn.cluster\n"
        "doctor.command.callback = fail\n"
        "doctor.command.params = []\n"
        "cli.main(['doctor'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and "sklearn" in done.stderr and "pip install 'osparse[" in done.stderr


def test_a_module_that_is_not_there() -> None:
    for module in ("nosuchmodule", "nosuchmodule.inner"):
        with pytest.raises(MissingExtraError, match=r"needs nosuchmodule.*pip install 'osparse\[train\]'"):
            check(module, "train")
    assert (
        require("json.decoder", "train").JSONDecoder and extra_of("scipy.sparse") == "train" and extra_of(None) is None
    )
