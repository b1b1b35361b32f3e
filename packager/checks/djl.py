"""Ring three: the server's own runtime, DJL 0.31.1 with libtorch 2.5.1 and ONNX Runtime 1.16.3, in a child process.

ML Commons 3.x is a thin layer over these jars. They are resolved from Maven Central once (222 MB, checked by sha256),
unpack 438 MB of native code into the cache once, and need no network after that.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osparse.contracts.bundle import Bundle
from osparse.contracts.zip_members import open_zip
from osparse.errors import CheckError, InputError, NodeError
from osparse.io.locks import held
from osparse.io.user_folders import user_folder
from osparse.opensearch_versions import RUNTIMES
from osparse.plugins.extras import check
from osparse.runtime.jars import cache_folder as maven_cache
from osparse.runtime.jars import fetch_jars, read_lock
from osparse.runtime.java import choose_java

SERVER = RUNTIMES[-1]
LOCK_FILE = Path(__file__).with_name(f"djl-{SERVER.djl}-jars.json")
CHILD = Path(__file__).with_name("djl_child.py")
LIBRARIES = {
    "TORCH_SCRIPT": f"DJL {SERVER.djl} with libtorch {SERVER.libtorch}",
    "ONNX": f"DJL {SERVER.djl} with ONNX Runtime {SERVER.onnxruntime}",
}
"""``model_format`` -> what OpenSearch 3.x runs it with."""
TOKENIZERS = f"DJL {SERVER.djl} with tokenizers {SERVER.tokenizers}"
ENGINES = {"TORCH_SCRIPT": "PyTorch", "ONNX": "OnnxRuntime"}
JNI_VERSION = f"jni_version={SERVER.libtorch}-{SERVER.djl}\n"
"""Maven Central has the glue of libtorch 2.5.1 under DJL 0.32.0 only; told this, 0.31.1 takes it as its own."""
SUFFIXES = (".pt", ".onnx")
SECONDS = 600.0
"""For all the child does; a base-sized model takes about 30 s."""

log = logging.getLogger("osparse.packager.checks.djl")


@dataclass(frozen=True)
class Encoded:
    """What one deployed encoder answered."""

    words: list[dict[str, float]]
    """Per text, {raw token: weight}: ``sparse_embedding_format`` WORD."""
    ids: list[dict[int, float]]
    """Per text, {token id: weight}: TOKEN_ID."""
    rows: list[dict[int, float]]
    """Per row of ids."""
    memory_mb: float
    """Resident memory that loading and the first answer added, in 10^6 bytes."""
    peak_mb: float
    """The same with the largest that any text added."""
    cpu_seconds: float
    """Processor time of all texts together."""


@dataclass(frozen=True)
class Served:
    """What the server's runtime answered."""

    encoders: dict[str, Encoded]
    """By format."""
    queries: list[dict[str, float]]
    """Per text, {raw token: weight}."""


def cache_folder() -> Path:
    """Where the native code is unpacked."""
    return user_folder("cache") / f"djl-{SERVER.djl}"


def serve(bundle: Bundle, texts: Sequence[str], rows: Sequence[Sequence[int]] = ()) -> Served:
    """Answers of the bundle's zips to ``texts``, and of its encoders to ``rows`` of ids.

    Raises:
        CheckError: the runtime refuses a zip; the message is its own.
        NodeError: the jars cannot be fetched, or the child ended without an answer.
        MissingExtraError: jgo or jpype is not installed.
    """
    cache = cache_folder()
    request: dict[str, Any] = {"classpath": _class_path(cache), "libjvm": str(choose_java().library)}
    with tempfile.TemporaryDirectory(prefix="osparse-djl-") as scratch:
        folder = Path(scratch)
        request |= {
            "cache": str(cache),
            "encoders": {
                form: [ENGINES[bundle.files[form].model_format], _unpack(bundle, form, folder)]
                for form in bundle.formats
            },
            "tokenizer": _unpack(bundle, "tokenizer", folder),
            "texts": list(texts),
            "rows": [list(map(int, row)) for row in rows],
        }
        # Two that unpack the native code at once would read each other's halves.
        with held(cache / ".lock", SECONDS, "another verification on the server's runtime"):
            answer = _run(request, folder)
    if "error" in answer:
        part = str(answer["part"])
        runtime = TOKENIZERS if part == "tokenizer" else LIBRARIES[bundle.files[part].model_format]
        raise CheckError(
            f"{bundle.zip_path(part)}: {runtime} does not run it: {answer['error']}; make it again with: "
            "osparse package"
        )
    return Served({form: _encoded(raw) for form, raw in answer["encoders"].items()}, answer["queries"])


def _class_path(cache: Path) -> list[str]:
    jars, _ = read_lock(LOCK_FILE)
    if not any(jar.parts[1] == "pytorch-native-cpu" for jar in jars):
        raise InputError(
            "`runtime=djl` needs Linux on x86_64: the native code of this machine is not in osparse's lock file; "
            "verify the bundle on such a machine, or without `runtime=djl`"
        )
    check("jpype", "node")
    fetch_jars(jars, maven_cache(), of="DJL")
    overlay = cache / "overlay"
    (overlay / "jnilib").mkdir(parents=True, exist_ok=True)
    (overlay / "jnilib" / "pytorch.properties").write_text(JNI_VERSION, encoding="utf-8")
    return [str(overlay), *(str(maven_cache() / jar.cache_path) for jar in jars)]


def _unpack(bundle: Bundle, part: str, folder: Path) -> str:
    """One zip's files in a folder of their own, the model renamed as the server renames it."""
    target = folder / part
    target.mkdir()
    with open_zip(bundle.zip_path(part)) as opened:
        opened.extractall(target)
    for path in target.iterdir():
        if path.suffix in SUFFIXES:
            path.rename(target / f"model{path.suffix}")
    return str(target)


def _run(request: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    # -P: file names of this folder must not hide packages of the same name.
    command = [sys.executable, "-P", str(CHILD), str(folder / "request.json"), str(folder / "answer.json")]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, errors="replace")
    except subprocess.TimeoutExpired:
        raise NodeError(f"the server's runtime gave no answer within {SECONDS:.0f} s; is this machine busy?") from None
    log.debug("%s%s", run.stdout, run.stderr)
    if run.returncode or not (folder / "answer.json").is_file():
        last = " ".join((run.stderr.strip().splitlines() or ["it said nothing"])[-2:])
        raise NodeError(
            f"the server's runtime ended with {run.returncode}: {last}; its whole output is in the log at level DEBUG"
        )
    answer: dict[str, Any] = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    return answer


def _encoded(raw: Mapping[str, Any]) -> Encoded:
    def by_id(rows: list[dict[str, float]]) -> list[dict[int, float]]:
        return [{int(i): weight for i, weight in row.items()} for row in rows]

    return Encoded(
        raw["words"],
        by_id(raw["ids"]),
        by_id(raw["rows"]),
        raw["loaded_mb"],
        raw["peak_mb"],
        raw["cpu_seconds"],
    )
