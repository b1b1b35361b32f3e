"""A process that encodes for one index: JSON lines of texts in, lines of vectors out, one thread, no torch.

    python -m osparse.deployer.encode.worker encoder.onnx.zip u2024 "max_ratio 0.1" 0

The second argument is the form of the vectors; the third is the rule by which weights are left out (empty leaves out
none); the fourth is the weight of the windows of a long text after the first one (0: long
texts are cut). One request is a JSON list of texts on a line. Its answer is ``ok <count>`` and that
many lines, each ``1`` or ``0`` (whether the text was cut), a space and the text's vector; or ``error`` and a message.
The process ends when its standard input does.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from osparse.contracts.deployment import feature_name
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.encoders.onnx_session import Device
from osparse.encoders.windows import windowed
from osparse.errors import OsparseError
from osparse.formula.pruning import prune_by

ROWS: dict[Device, int] = {"cpu": 8, "cuda": 64}
"""Texts of one length class in one run of the model; on a CPU more only cost cache."""

Form = Literal["raw", "u2024", "ids", "packed"]
"""How a vector is written. ``raw`` and ``u2024``: a JSON object {feature: weight} with the names of that key style.
``ids``: the same with the vocabulary ids as names. ``packed``: base64 of the ids (uint32) and then the weights
(float32), little-endian."""


class Encoded(NamedTuple):
    """What was made of one text."""

    vector: bytes
    """In the form that was asked for."""
    cut: bool
    """Whether the text was longer than the encoder reads."""


class FeatureEncoder:
    """Texts -> the vector of each, written in one form.

    A text's vector does not depend on the texts it is encoded with, nor on how many there are: a load that was
    interrupted and resumed leaves the same bytes in the index as one that was not.
    """

    def __init__(
        self,
        archive: Path,
        form: Form,
        prune: str | None = None,
        window_weight: float | None = None,
        device: Device = "cpu",
    ) -> None:
        """Args:
        prune: The rule by which weights are left out (:func:`prune_by`).
        window_weight: Of the windows of a long text after the first one (:func:`windowed`); None cuts long texts.
        """
        self._encoder = OnnxEncoder.open(archive, threads=1, device=device)
        self._rows = ROWS[device]
        self._prune, self._window_weight = prune, window_weight
        self._write = _writer(form, self._encoder.tokens)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        if self._window_weight is not None:
            vectors = windowed(self._encoder, texts, self._window_weight)
            return [Encoded(self._write(prune_by(self._prune, vector)), False) for vector in vectors]
        rows_of_ids, cut = self._encoder.token_ids(texts)
        encoded: list[Encoded] = [Encoded(b"", False)] * len(texts)
        for rows, weights in self._encoder.batches_of_ids(rows_of_ids, self._rows):
            for row, vector in zip(rows, weights, strict=True):
                encoded[row] = Encoded(self._write(prune_by(self._prune, vector)), cut[row])
        return encoded


def _writer(form: Form, tokens: Sequence[str]) -> Callable[[NDArray[np.float32]], bytes]:
    if form == "packed":
        return packed
    names = map(str, range(len(tokens))) if form == "ids" else (feature_name(token, form) for token in tokens)
    keys = [json.dumps(name, ensure_ascii=False) + ":" for name in names]
    return lambda weights: features_json(weights, keys)


def features_json(weights: NDArray[np.float32], keys: Sequence[str]) -> bytes:
    """(V,) weights and ``"name":`` of each id -> the non-zeros as a JSON object, each float32 in its fewest digits."""
    ids = np.flatnonzero(weights)
    pairs = [keys[i] + str(weight) for i, weight in zip(ids.tolist(), weights[ids], strict=True)]
    return ("{" + ",".join(pairs) + "}").encode("utf-8", "replace")


def packed(weights: NDArray[np.float32]) -> bytes:
    """(V,) weights -> base64 of the ids of the non-zeros and of their weights; :func:`unpacked` reads it."""
    ids = np.flatnonzero(weights)
    return base64.b64encode(ids.astype("<u4").tobytes() + weights[ids].astype("<f4").tobytes())


def unpacked(vector: bytes) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """The ids, ascending, and the weights that :func:`packed` wrote, each (N,)."""
    data = base64.b64decode(vector)
    middle = len(data) // 2
    return np.frombuffer(data[:middle], "<u4"), np.frombuffer(data[middle:], "<f4")


def serve(encoder: FeatureEncoder, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer every request in turn; an error of osparse's own is answered, any other ends the process."""
    for request in requests:
        try:
            encoded = encoder.encode(json.loads(request))
        except OsparseError as problem:
            answers.write(f"error {json.dumps(str(problem))}\n".encode())
        else:
            lines = (b"%d %s\n" % (one.cut, one.vector) for one in encoded)
            answers.write(b"ok %d\n" % len(encoded) + b"".join(lines))
        answers.flush()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it ends our standard input
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    form: Form = next(form for form in get_args(Form) if form == sys.argv[2])
    try:
        encoder = FeatureEncoder(Path(sys.argv[1]), form, sys.argv[3] or None, float(sys.argv[4]) or None)
    except OsparseError as problem:
        answers.write(f"error {json.dumps(str(problem))}\n".encode())
        answers.flush()
        sys.exit(problem.exit_code)
    serve(encoder, sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
