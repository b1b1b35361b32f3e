"""The model file of a zip that another tool made, run as the server runs it."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osparse.contracts.zip_members import read_member
from osparse.encoders.onnx_session import open_runner
from osparse.errors import BundleError
from osparse.packager.compare.parity import Runner
from osparse.packager.imported.zip_contents import model_members
from osparse.plugins.extras import check

_LAYER = re.compile(r"\.(?:layer|layers|albert_layers)\.(\d+)\.")


@dataclass(frozen=True)
class ServedGraph:
    """A model file that runs here."""

    run: Runner
    """(B, T) ids and mask -> (B, V), or what else the model answers."""
    output: str
    """Name of the output, empty where it has none."""
    parameters: int
    """Numbers in its named tensors, 0 where they have no names."""
    layers: int
    """Encoder layers, by the names of the tensors; 0 where they do not say."""


def open_graph(archive: Path, model_format: str) -> ServedGraph:
    """Raises :class:`BundleError` for a file that does not load, :class:`MissingExtraError` without its runtime."""
    members = model_members(archive)
    if len(members) != 1:
        raise BundleError(f"{archive} holds {members or 'no model file'}, the server requires exactly one")
    data = read_member(archive, members[0])
    if model_format == "ONNX":
        return ServedGraph(open_runner(data, str(archive)), "", *_facts(_onnx_shapes(data)))
    return _torchscript(data, archive)


def _torchscript(data: bytes, archive: Path) -> ServedGraph:
    check("torch", "train")
    import torch

    from osparse.packager.export.torchscript import one_thread, quiet

    jit: Any = torch.jit
    try:
        with quiet():
            module = jit.load(io.BytesIO(data), map_location="cpu").eval()
    except RuntimeError as problem:
        raise BundleError(f"{archive}: torch cannot load the model: {_first_line(problem)}") from None

    def call(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Any:
        inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        try:
            with one_thread(), torch.inference_mode(), jit.optimized_execution(False):
                return module(inputs)
        except RuntimeError as problem:
            raise BundleError(
                f"{archive}: the model fails on {ids.shape[1]} ids: {_first_line(problem)}; the server gives it "
                "input_ids and attention_mask of any length up to 512"
            ) from None

    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        weights: NDArray[np.float32] = _tensor(call(ids, mask), archive)[1].float().numpy()
        return weights

    short = np.arange(3, dtype=np.int64)[None]
    name, _ = _tensor(call(short, np.ones_like(short)), archive)
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    return ServedGraph(run, name, *_facts(shapes))


def _tensor(answer: Any, archive: Path) -> tuple[str, Any]:
    """Name and value of the one output; the server makes an entry of each."""
    named = answer if isinstance(answer, dict) else {"": answer}
    if len(named) != 1 or not hasattr(next(iter(named.values())), "numpy"):
        raise BundleError(f"{archive}: the model answers {sorted(named) or 'nothing'}, required is one tensor")
    return next(iter(named.items()))


def _onnx_shapes(data: bytes) -> dict[str, tuple[int, ...]]:
    try:
        import onnx
    except ModuleNotFoundError:  # ONNX Runtime, which runs the file, does not name its tensors
        return {}
    return {tensor.name: tuple(tensor.dims) for tensor in onnx.load_from_string(data).graph.initializer}


def _facts(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """Parameters and layers."""
    layers = [int(match[1]) for name in shapes if (match := _LAYER.search(name))]
    return sum(int(np.prod(shape)) for shape in shapes.values()), 1 + max(layers, default=-1)


def _first_line(problem: Exception) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return lines[-1] if lines else type(problem).__name__
