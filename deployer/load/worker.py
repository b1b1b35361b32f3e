"""A process that encodes for one index: JSON lines of texts in, JSON lines of features out, one thread, no torch.

    python -m osparse.deployer.load.worker encoder.onnx.zip u2024

One request is a JSON list of texts on a line; its answer is ``ok <count>`` and that many lines, each the JSON object
{feature: weight} of a text, or ``error`` and a message. It ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, get_args

import numpy as np
from numpy.typing import NDArray

from osparse.contracts.deployment import KeyStyle, feature_name
from osparse.encoders.onnx_encoder import OnnxEncoder
from osparse.errors import OsparseError

ROWS = 8
"""Texts of one length class in one run of the model; more only cost cache."""


class FeatureEncoder:
    """Texts -> the JSON object of each one's features.

    A text's features do not depend on the texts it is encoded with, nor on how many there are: a load that was
    interrupted and resumed leaves the same bytes in the index as one that was not.
    """

    def __init__(self, archive: Path, key_style: KeyStyle) -> None:
        self._encoder = OnnxEncoder.open(archive, threads=1)
        names = (feature_name(token, key_style) for token in self._encoder.tokens)
        self._keys = [json.dumps(name, ensure_ascii=False) + ":" for name in names]

    def encode(self, texts: Sequence[str]) -> list[bytes]:
        found = [b""] * len(texts)
        for rows, weights in self._encoder.batches(texts, ROWS):
            for row, vector in zip(rows, weights, strict=True):
                found[row] = features_json(vector, self._keys)
        return found


def features_json(weights: NDArray[np.float32], keys: Sequence[str]) -> bytes:
    """(V,) weights and ``"name":`` of each id -> the non-zeros as a JSON object, each float32 in its fewest digits."""
    ids = np.flatnonzero(weights)
    pairs = [keys[i] + str(weight) for i, weight in zip(ids.tolist(), weights[ids], strict=True)]
    return ("{" + ",".join(pairs) + "}").encode("utf-8", "replace")


def serve(encoder: FeatureEncoder, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer every request in turn; an error of osparse's own is answered, any other ends the process."""
    for request in requests:
        try:
            found = encoder.encode(json.loads(request))
        except OsparseError as problem:
            answers.write(f"error {json.dumps(str(problem))}\n".encode())
        else:
            answers.write(b"ok %d\n" % len(found) + b"".join(line + b"\n" for line in found))
        answers.flush()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it ends our standard input
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    style: KeyStyle = next(style for style in get_args(KeyStyle) if style == sys.argv[2])
    try:
        encoder = FeatureEncoder(Path(sys.argv[1]), style)
    except OsparseError as problem:
        answers.write(f"error {json.dumps(str(problem))}\n".encode())
        answers.flush()
        sys.exit(problem.exit_code)
    serve(encoder, sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
