"""How fast texts are encoded: by the processes of a load on this machine, and by the model that a cluster serves."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from osparse.contracts.bundle import Bundle
from osparse.deployer.encode.encoders import PIECE, open_source
from osparse.deployer.encode.worker import unpacked
from osparse.deployer.load.bulk import patiently
from osparse.deployer.mlcommons.api import MLCommons
from osparse.deployer.mlcommons.tasks import answers, first_answer
from osparse.runtime.processors import cores

CLUSTER_SECONDS = 10.0
"""How long the cluster is asked for, at most."""


@dataclass(frozen=True)
class EncodedSample:
    """The sample, encoded as a load on this machine encodes."""

    nonzeros: tuple[int, ...]
    """Of each text."""
    cut: int
    """Texts that are longer than the encoder reads."""
    per_second: float
    """Texts, of all processes together."""
    workers: int
    """Processes."""


def encode_sample(
    bundle: Bundle, texts: Sequence[str], workers: int | None, window_weight: float | None = None
) -> EncodedSample:
    """Encode with ``workers`` processes (None: one per core), as ``osparse index`` does; starting them is not timed.

    Raises:
        BundleError: the bundle has no onnx part.
    """
    count = workers or cores()
    names = [str(number) for number in range(len(texts))]
    source = open_source(bundle.zip_path("onnx"), "packed", count, None, window_weight=window_weight)
    with closing(source):
        started_by = [*texts][: PIECE * count]
        source.encode(names[: len(started_by)], started_by)
        started = time.perf_counter()
        encoded = source.encode(names, texts)
        seconds = time.perf_counter() - started
    counts = tuple(len(unpacked(one.vector)[0]) for one in encoded)
    return EncodedSample(counts, sum(one.cut for one in encoded), len(texts) / seconds, count)


def cluster_rate(ml: MLCommons, bundle: str, fingerprint: str, texts: Sequence[str]) -> float | None:
    """Texts a second of the encoder that the cluster serves, one at a time; None where it serves none that answers."""
    for model in ml.find_models(f"{bundle}-{fingerprint[:12]}-encoder"):
        if answers(first_answer(ml, model)):
            return _rate(ml, model.id, texts)
    return None


def _rate(ml: MLCommons, model_id: str, texts: Sequence[str]) -> float:
    started, asked = time.perf_counter(), 0
    for text in texts:
        patiently(functools.partial(ml.predict, model_id, [text]))
        asked += 1
        if time.perf_counter() - started > CLUSTER_SECONDS:
            break
    return asked / (time.perf_counter() - started)
