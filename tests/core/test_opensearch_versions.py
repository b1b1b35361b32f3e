"""One table of OpenSearch versions: what the servers' release tags say, and no copy of it in another module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from osparse.errors import InputError
from osparse.opensearch_versions import RUNTIMES, SINCE, TARGETS, seismic_fold, select, server_runtime

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("src/osparse", "corpus", "trainer", "packager", "deployer", "retrieval", "opensearch_templates")


@pytest.mark.parametrize(
    ("version", "djl", "libtorch", "onnxruntime"),
    [  # as the release tags of ml-commons have them
        ((2, 11), "0.21.0", "1.13.1", "1.14.0"),
        ((2, 14), "0.21.0", "1.13.1", "1.14.0"),
        ((2, 15), "0.28.0", "1.13.1", "1.16.3"),
        ((2, 18), "0.28.0", "1.13.1", "1.16.3"),
        ((2, 19), "0.31.1", "1.13.1", "1.16.3"),
        ((3, 0), "0.31.1", "2.5.1", "1.16.3"),
        ((3, 8), "0.31.1", "2.5.1", "1.16.3"),
        ((3, 9), "0.31.1", "2.5.1", "1.16.3"),
    ],
)
def test_what_a_version_runs(version: tuple[int, int], djl: str, libtorch: str, onnxruntime: str) -> None:
    runtime = server_runtime(version)
    assert (runtime.djl, runtime.libtorch, runtime.onnxruntime) == (djl, libtorch, onnxruntime)


def test_versions_older_than_sparse_encoding_run_nothing() -> None:
    with pytest.raises(InputError, match=r"2\.10 is older than 2\.11"):
        server_runtime((2, 10))


def test_the_modulus_of_seismic_changes_with_3_9() -> None:
    assert [seismic_fold(v) for v in ((2, 19), (3, 2), (3, 3), (3, 8), (3, 9), (3, 10))] == [
        None, None, 65_536, 65_536, 32_768, 32_768,
    ]  # fmt: skip
    assert {v for v, target in TARGETS.items() if target.seismic_fold == 32_768} == {"3.9"}


def test_a_target_has_a_field_and_an_analyzer_from_the_version_that_brought_it() -> None:
    for version, target in TARGETS.items():
        number = tuple(map(int, version.split(".")))
        assert ("sparse_vector" in target.field_types) == (number >= SINCE["sparse_vector"])
        assert bool(target.analyzers) == (number >= SINCE["analyzers"])


def test_selecting() -> None:
    assert [t.version for t in select(["3.9", "2.x"])] == ["2.15", "2.16", "2.17", "2.18", "2.19", "3.9"]
    assert [t.version for t in select("3.x")] == [f"3.{minor}" for minor in range(10)]
    with pytest.raises(InputError, match=r"`target=3\.11` is not a known version"):
        select("3.11")
    with pytest.raises(InputError, match="`target` names no version"):
        select([])


def constants(path: Path) -> Iterator[tuple[int, object]]:
    """(line, value) of the constants of a file that are not docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield node.lineno, node.value


def test_no_other_module_states_a_fact_of_the_table() -> None:
    versions = {runtime.djl for runtime in RUNTIMES} | {RUNTIMES[-1].libtorch}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if path.name == "opensearch_versions.py":
                continue
            for line, value in constants(path):
                copied = value == 32_768 or (isinstance(value, str) and any(v in value for v in versions))
                assert not copied, f"{path.relative_to(ROOT)}:{line} repeats {value!r} of opensearch_versions.py"
