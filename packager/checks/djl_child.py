"""The child process of osparse.packager.checks.djl: a Java virtual machine that serves the zips as ML Commons does.

It is run by its path, imports nothing of osparse, and talks through two JSON files. Texts go one at a time through
DJL's tokenizer and predictor, the inputs are named and stacked as ML Commons' translator does, and the answer is read
with ``nonzero`` and decoded id by id (SparseEncodingTranslator, SparseTokenizerModel).
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

WARM_UP = "warm up sentence"
"""What ML Commons asks a model as soon as it is deployed."""


def main(request_path: str, answer_path: str) -> None:
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    jpype = _start_java(request)
    answer: dict[str, Any] = {"encoders": {}}
    try:
        for part, (engine, folder) in request["encoders"].items():
            answer["part"] = part
            answer["encoders"][part] = _Encoder(jpype, engine, folder).serve(request["texts"], request["rows"])
        answer["part"] = "tokenizer"
        answer["queries"] = _queries(jpype, request["tokenizer"], request["texts"])
    except jpype.JException as error:
        answer["error"] = _root_cause(error)
    except _Refused as error:
        answer["error"] = str(error)
    Path(answer_path).write_text(json.dumps(answer), encoding="utf-8")


def _start_java(request: dict[str, Any]) -> Any:
    import jpype

    cache = request["cache"]
    jpype.startJVM(
        request["libjvm"],
        "-Xmx1g",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "--enable-native-access=ALL-UNNAMED",
        f"-DDJL_CACHE_DIR={cache}",
        f"-DENGINE_CACHE_DIR={cache}",
        "-Dai.djl.offline=true",  # everything it needs is on the class path
        "-DOPT_OUT_TRACKING=true",
        "-Dai.djl.pytorch.num_threads=1",  # as ML Commons sets it
        "-Dai.djl.pytorch.num_interop_threads=1",
        f"-Djava.io.tmpdir={cache}",
        f"-Djna.tmpdir={cache}",
        classpath=request["classpath"],
        convertStrings=False,
    )
    return jpype


class _Refused(Exception):
    """What runs, but not as ML Commons wants it."""


class _Encoder:
    """One deployed SPARSE_ENCODING model."""

    def __init__(self, jpype: Any, engine: str, folder: str) -> None:
        self.jpype = jpype
        self.before_mb = _memory_mb("VmRSS")
        _reset_peak()
        path = jpype.JClass("java.nio.file.Paths").get(folder)
        self.tokenizer = _tokenizer(jpype, folder)
        self.model = jpype.JClass("ai.djl.Model").newInstance("model", engine)
        self.model.load(path, "model")
        stack = jpype.JClass("ai.djl.translate.Batchifier").STACK
        self.predictor = self.model.newPredictor(jpype.JClass("ai.djl.translate.NoopTranslator")(stack))

    def serve(self, texts: list[str], rows: list[list[int]]) -> dict[str, Any]:
        """Answers of each text under raw tokens and under ids, and of each row of ids."""
        self.weights(*self.encode(WARM_UP))
        loaded, begun = _memory_mb("VmRSS"), time.process_time()
        vectors = [self.weights(*self.encode(text)) for text in texts]
        seconds = time.process_time() - begun
        answer = {
            "words": [self.words(vector) for vector in vectors],
            "ids": [{str(i): w for i, w in vector} for vector in vectors],
            "rows": [{str(i): w for i, w in self.weights(row, [1] * len(row))} for row in rows],
            "loaded_mb": loaded - self.before_mb,
            "peak_mb": _memory_mb("VmHWM") - self.before_mb,
            "cpu_seconds": seconds,
        }
        self.model.close()
        return answer

    def encode(self, text: str) -> tuple[Any, Any]:
        encoding = self.tokenizer.encode(text)
        return encoding.getIds(), encoding.getAttentionMask()

    def weights(self, ids: Any, mask: Any) -> list[tuple[int, float]]:
        """(L,), (L,) -> (id, weight) of the non-zeros, found by the server's own call."""
        manager = self.model.getNDManager().newSubManager()
        longs = self.jpype.JArray(self.jpype.JLong)
        inputs = [manager.create(longs(ids)), manager.create(longs(mask))]
        for array, name in zip(inputs, ("input1.input_ids", "input1.attention_mask"), strict=True):
            array.setName(name)
        outputs = self.predictor.predict(self.jpype.JClass("ai.djl.ndarray.NDList")(*inputs))
        if len(outputs) != 1:
            raise _Refused(f"the model returns {len(outputs)} tensors, ML Commons would answer as many results")
        array = outputs.get(0)
        where = list(array.nonzero().squeeze().toLongArray())
        values = array.toFloatArray()
        pairs = [(int(i), float(values[int(i)])) for i in where]
        outputs.close()
        manager.close()
        return pairs

    def words(self, vector: list[tuple[int, float]]) -> dict[str, float]:
        """WORD: the decoded id is the key, an empty one is dropped, an equal one overwritten."""
        longs = self.jpype.JArray(self.jpype.JLong)
        keys = [str(self.tokenizer.decode(longs([i]), True)) for i, _ in vector]
        return {key: weight for key, (_, weight) in zip(keys, vector, strict=True) if key}


def _queries(jpype: Any, folder: str, texts: list[str]) -> list[dict[str, float]]:
    """SPARSE_TOKENIZE: distinct ids, decoded, weighed by idf.json as gson reads it."""
    tokenizer = _tokenizer(jpype, folder)
    boxed = [jpype.JClass(f"java.lang.{name}").class_ for name in ("String", "Float")]
    kind = jpype.JClass("com.google.gson.reflect.TypeToken").getParameterized(
        jpype.JClass("java.util.Map").class_, *boxed
    )
    text = jpype.JClass("java.nio.file.Files").readString(jpype.JClass("java.nio.file.Paths").get(folder, "idf.json"))
    idf = jpype.JClass("com.google.gson.Gson")().fromJson(text, kind.getType())
    longs = jpype.JArray(jpype.JLong)
    answers = []
    for text in texts:
        keys = [tokenizer.decode(longs([i]), True) for i in dict.fromkeys(map(int, tokenizer.encode(text).getIds()))]
        answers.append({str(key): float(idf.getOrDefault(key, jpype.JFloat(1.0))) for key in keys if len(str(key))})
    return answers


def _tokenizer(jpype: Any, folder: str) -> Any:
    path = jpype.JClass("java.nio.file.Paths").get(folder, "tokenizer.json")
    builder = jpype.JClass("ai.djl.huggingface.tokenizers.HuggingFaceTokenizer").builder()
    return builder.optPadding(True).optTokenizerPath(path).build()


def _root_cause(error: Any) -> str:
    while error.getCause() is not None:
        error = error.getCause()
    lines = [line.strip() for line in str(error.getMessage()).splitlines() if line.strip()]
    return f"{error.getClass().getSimpleName()}: {' '.join(lines[:2])}"


def _memory_mb(name: str) -> float:
    """Resident memory now (VmRSS) or its peak (VmHWM), in 10^6 bytes; 0 where the system does not say."""
    status = Path("/proc/self/status")
    peak = re.search(rf"{name}:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(peak[1]) * 1024 / 1e6 if peak else 0.0


def _reset_peak() -> None:
    path = Path("/proc/self/clear_refs")
    if path.is_file() and os.access(path, os.W_OK):
        path.write_text("5")


if __name__ == "__main__":
    main(*sys.argv[1:])
