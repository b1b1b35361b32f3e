"""The server runtime without a Java virtual machine: what is said when the runtime cannot be had, ends, or refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from osparse.contracts.bundle import Bundle
from osparse.errors import CheckError, InputError, NodeError
from osparse.packager.checks import djl
from osparse.runtime.jars import read_lock
from osparse.runtime.java import Java


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a script in the place of the real child, with nothing to fetch."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(djl, "fetch_jars", lambda jars, cache, *, of: None)
    monkeypatch.setattr(djl, "choose_java", lambda: Java(tmp_path, "25", bundled=True))

    def place(script: str) -> None:
        path = tmp_path / "child.py"
        path.write_text(
            f"import json, sys\nfrom pathlib import Path\nrequest, answer = map(Path, sys.argv[1:])\n{script}"
        )
        monkeypatch.setattr(djl, "CHILD", path)

    return place


def test_the_lock_file_names_what_opensearch_3_runs() -> None:
    jars, _ = read_lock(djl.LOCK_FILE)
    versions = {jar.parts[1]: jar.parts[3] for jar in jars}
    assert versions["api"] == versions["pytorch-engine"] == versions["tokenizers"] == "0.31.1"
    assert versions["onnxruntime"] == "1.16.3"
    rows = json.loads(djl.LOCK_FILE.read_text())["djl"]
    assert any(name.startswith("ai.djl.pytorch:pytorch-native-cpu:") and name.endswith(":2.5.1") for name, *_ in rows)
    assert all(len(sha256) == 64 and size > 0 for _, sha256, size in rows)


def test_a_machine_without_native_code(bundle: Bundle, child: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(InputError, match="`runtime=djl` needs Linux on x86_64.*without `runtime=djl`"):
        djl.serve(bundle, ["a"])


def test_without_network_it_says_so(bundle: Bundle, child: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(jars: object, cache: object, *, of: str) -> None:
        raise NodeError(f"cannot fetch {of}: the repository cannot be reached")

    monkeypatch.setattr(djl, "fetch_jars", unreachable)
    with pytest.raises(NodeError, match="cannot fetch DJL: the repository cannot be reached"):
        djl.serve(bundle, ["a"])


def test_a_child_that_ends_without_an_answer(bundle: Bundle, child: Any) -> None:
    child("print('libc.so.6 is too old', file=sys.stderr); sys.exit(7)")
    with pytest.raises(
        NodeError, match=r"ended with 7: libc\.so\.6 is too old; its whole output is in the log at level DEBUG"
    ):
        djl.serve(bundle, ["a"])


def test_a_child_that_never_ends(bundle: Bundle, child: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    child("import time; time.sleep(60)")
    monkeypatch.setattr(djl, "SECONDS", 0.2)
    with pytest.raises(NodeError, match="gave no answer within"):
        djl.serve(bundle, ["a"])


def test_a_zip_the_runtime_refuses(bundle: Bundle, child: Any) -> None:
    child(
        "answer.write_text(json.dumps({'part': 'torchscript', 'error': 'EngineException: Unknown builtin op: aten::x'}))"
    )
    with pytest.raises(CheckError, match=r"encoder\.torchscript\.zip: DJL 0\.31\.1 with libtorch 2\.5\.1 .*aten::x"):
        djl.serve(bundle, ["a"])


def test_what_the_child_is_told_and_answers(bundle: Bundle, child: Any) -> None:
    child(
        "told = json.loads(request.read_text())\n"
        "folders = {part: sorted(p.name for p in Path(f).iterdir()) for part, (_, f) in told['encoders'].items()}\n"
        "one = {'words': [folders], 'ids': [{'7': 1.0}], 'rows': [{'8': 2.0}], 'loaded_mb': 1, 'peak_mb': 2,"
        " 'cpu_seconds': 3}\n"
        "answer.write_text(json.dumps({'encoders': {'onnx': one}, 'queries': [told['texts'], told['rows']]}))"
    )
    served = djl.serve(bundle, ["a"], [[2, 3]])
    answer = served.encoders["onnx"]
    folders: Any = answer.words[0]
    assert folders["onnx"] == ["LICENSE", "idf.json", "model.onnx", "tokenizer.json"]
    assert folders["torchscript"] == ["LICENSE", "idf.json", "model.pt", "tokenizer.json"]
    assert (answer.ids, answer.rows, answer.memory_mb, answer.peak_mb) == ([{7: 1.0}], [{8: 2.0}], 1, 2)
    assert served.queries == [["a"], [[2, 3]]]
