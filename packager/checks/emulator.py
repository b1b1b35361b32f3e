"""An emulation of the server: what ML Commons does with a zip, step by step, from the zip's bytes alone.

    encoder = ServerEncoder.open("build/bundle/encoder.onnx.zip", "ONNX")
    encoder.predict("배나무 키우기")                 # {"배": 1.21, ...}, as POST /_plugins/_ml/models/{id}/_predict
    ServerTokenizer.open("build/bundle/tokenizer.zip").predict("배나무")

Read in ml-commons (SentenceTransformerTranslator, SparseEncodingTranslator, SparseTokenizerModel, ModelHelper) and
measured on a real 3.4.0. The model runs on this machine's torch or ONNX Runtime; ``verify(runtime="djl")`` runs the
server's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from osparse.contracts.zip_members import open_zip, read_member
from osparse.encoders.onnx_session import open_runner
from osparse.errors import BundleError
from osparse.formula.head import SERVER_MAX_TOKENS

KeyFormat = Literal["WORD", "TOKEN_ID"]
"""``sparse_embedding_format`` of a predict call."""
SUFFIXES = {"TORCH_SCRIPT": ".pt", "ONNX": ".onnx"}
"""``model_format`` -> what the server takes for a model file."""
FORBIDDEN = (".jar", ".class", ".so", ".dylib", ".dll")
"""3.8 refuses an archive with any of these."""
WARM_UP = "warm up sentence"
"""Asked as soon as a model is deployed; an answer with NaN or infinity fails the deploy."""

Run = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]


@dataclass(frozen=True)
class ServerText:
    """The tokenizer of a zip as DJL loads it: its own truncation, at most 512 ids, no padding of a single text."""

    tokenizer: Tokenizer
    length: int
    """Ids a text is cut to, the special ones included."""

    @classmethod
    def open(cls, archive: Path) -> ServerText:
        data = read_member(archive, "tokenizer.json")
        try:
            tokenizer = Tokenizer.from_str(data.decode())
        except Exception as problem:  # noqa: BLE001 - tokenizers raises bare Exception
            raise BundleError(f"{archive}: tokenizer.json cannot be loaded: {problem}; run: osparse package") from None
        cut: Mapping[str, Any] = tokenizer.truncation or {}
        length = min(cut.get("max_length") or SERVER_MAX_TOKENS, SERVER_MAX_TOKENS)
        side = cut.get("direction", "right").lower()
        tokenizer.enable_truncation(length, strategy="longest_first", stride=cut.get("stride", 0), direction=side)
        tokenizer.no_padding()
        return cls(tokenizer, length)

    def ids(self, text: str) -> list[int]:
        # A lone half of a surrogate pair is no character: Java replaces it.
        ids: list[int] = self.tokenizer.encode(text.encode("utf-8", "replace").decode()).ids
        return ids

    def word(self, token_id: int) -> str:
        """The string of one id decoded alone; '' for a special token and for an id past the vocabulary."""
        return self.tokenizer.decode([token_id], skip_special_tokens=True)


class ServerEncoder:
    """A deployed SPARSE_ENCODING model."""

    def __init__(self, text: ServerText, run: Run, source: str) -> None:
        self.text = text
        self._run = run
        self._source = source
        self.vector(WARM_UP)

    @classmethod
    def open(cls, archive: Path | str, model_format: str, run: Run | None = None) -> ServerEncoder:
        """Deploy ``encoder.*.zip``; ``run`` if its model is loaded already.

        Raises:
            BundleError: the server would fail the deploy; the message says over what.
        """
        archive = Path(archive)
        member = _model_file(archive, model_format)
        runner = run or _open_model(read_member(archive, member), model_format, str(archive))
        return cls(ServerText.open(archive), runner, str(archive))

    def vector(self, text: str) -> NDArray[np.float32]:
        """(V,) weights of one text, which is never batched with another; raises :class:`BundleError` if not finite."""
        ids = np.array([self.text.ids(text)], dtype=np.int64)
        weights: NDArray[np.float32] = np.asarray(self._run(ids, np.ones_like(ids)))[0]
        if not np.isfinite(weights).all():
            raise BundleError(f"{self._source}: {text[:30]!r} gets NaN or infinite weights, which fails on the server")
        return weights

    def predict(self, text: str, form: KeyFormat = "WORD") -> dict[str, float]:
        """The ``response`` map. WORD drops ids that decode to nothing, equal strings overwrite each other; TOKEN_ID
        keeps every non-zero id, special ones included."""
        return self.answer(self.vector(text), form)

    def answer(self, weights: NDArray[np.float32], form: KeyFormat = "WORD") -> dict[str, float]:
        """The same of a vector, (V,)."""
        answer: dict[str, float] = {}
        for i in np.flatnonzero(weights):
            key = str(i) if form == "TOKEN_ID" else self.text.word(int(i))
            if key:
                answer[key] = as_json(weights[i])
        return answer


class ServerTokenizer:
    """A deployed SPARSE_TOKENIZE model."""

    def __init__(self, text: ServerText, idf: Mapping[str, float]) -> None:
        self.text = text
        self.idf = idf

    @classmethod
    def open(cls, archive: Path | str) -> ServerTokenizer:
        """Deploy ``tokenizer.zip``; raises :class:`BundleError` where the server fails or answers null."""
        archive = Path(archive)
        with open_zip(archive) as opened:
            names = opened.namelist()
        idf = _read_idf(read_member(archive, "idf.json"), archive) if "idf.json" in names else {}
        return cls(ServerText.open(archive), idf)

    def predict(self, text: str, form: KeyFormat = "WORD") -> dict[str, float]:
        """The ``response`` map: each distinct id once, under its decoded string the weight of *that string*, else 1."""
        answer = {}
        for i in dict.fromkeys(self.text.ids(text)):
            word = self.text.word(i)
            if word:
                answer[str(i) if form == "TOKEN_ID" else word] = self.idf.get(word, 1.0)
        return answer


def as_json(value: np.float32 | float) -> float:
    """A Java float after its way through JSON: the shortest decimal that names it, read as a double."""
    return float(str(np.float32(value)))


def _model_file(archive: Path, model_format: str) -> str:
    with open_zip(archive) as opened:
        names = opened.namelist()
    models = [name for name in names if name.endswith(tuple(SUFFIXES.values()))]
    wanted = SUFFIXES[model_format]
    if len(models) != 1 or not models[0].endswith(wanted):
        raise BundleError(f"{archive} holds {models or 'no model file'}, the server wants exactly one *{wanted}")
    refused = [name for name in names if name.endswith(FORBIDDEN)]
    if refused:
        raise BundleError(f"{archive} holds {refused}, for which OpenSearch 3.8 refuses the archive")
    return models[0]


def _open_model(data: bytes, model_format: str, source: str) -> Run:
    if model_format == "TORCH_SCRIPT":
        from osparse.packager.export.torchscript import TorchScriptRunner

        return TorchScriptRunner(data, source)
    return open_runner(data, source)


def _read_idf(data: bytes, archive: Path) -> dict[str, float]:
    """Flat {string: float} as gson reads it into floats; numbers in quotes count."""
    try:
        raw = json.loads(data)
        idf = {str(token): as_json(float(weight)) for token, weight in raw.items()}
    except (AttributeError, TypeError, ValueError) as problem:
        raise BundleError(f"{archive}: idf.json is not a flat map of token: weight: {problem}") from None
    return idf
