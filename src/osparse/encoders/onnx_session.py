"""A packaged encoder in ONNX Runtime: its input names, a session on the CPU or a GPU, and one run of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from osparse.errors import BundleError, InputError
from osparse.runtime.processors import cores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

INPUTS = ("input1.input_ids", "input1.attention_mask")
"""The two int64 inputs by the names that ML Commons gives them."""


Device = Literal["cpu", "cuda"]
_PROVIDERS: dict[Device, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def open_session(model: bytes, source: str, threads: int | None = None, device: Device = "cpu") -> InferenceSession:
    """An ONNX Runtime session.

    Raises:
        BundleError: a file that ONNX Runtime, or the server, cannot use.
        InputError: ONNX Runtime cannot use the device.
    """
    import onnxruntime

    provider = _PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise _unusable(device)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model, options, providers=[provider])
    except Exception as problem:  # noqa: BLE001 - onnxruntime raises its own classes, all bare Exceptions
        raise BundleError(f"{source}: ONNX Runtime cannot load the model: {problem}; run: osparse package") from None
    if provider not in session.get_providers():  # a missing CUDA library: it falls back to the CPU
        raise _unusable(device)
    names = {i.name for i in session.get_inputs()}
    if names != set(INPUTS):
        raise BundleError(f"{source}: the model's inputs are {sorted(names)}, not {list(INPUTS)}; run: osparse package")
    return session


def run_session(session: InferenceSession, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """(B, T) ids, (B, T) mask -> (B, V) weights."""
    weights: NDArray[np.float32] = session.run(None, dict(zip(INPUTS, (ids, mask), strict=True)))[0]
    return weights


def open_runner(model: bytes, source: str) -> Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]:
    """The model as a function of ids and mask, on one thread as the server runs it; raises as :func:`open_session`."""
    session = open_session(model, source, threads=1)
    return lambda ids, mask: run_session(session, ids, mask)


def _unusable(device: Device) -> InputError:
    return InputError(
        f"ONNX Runtime cannot use `device={device}` on this machine; install onnxruntime-gpu instead of onnxruntime, "
        "with the CUDA libraries that its version needs, or pass `device=cpu`"
    )
