"""Static scales: the range that the inputs of products have on texts of the user's dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from osparse.encoders.onnx_session import INPUTS, open_session
from osparse.packager.quantize.weights import add


@dataclass(frozen=True)
class Range:
    """The smallest and the largest number of a tensor, 0 included."""

    low: float = 0.0
    high: float = 0.0

    @property
    def scale(self) -> float:
        """Of one of 255 steps."""
        return max(self.high - self.low, 1e-9) / 255

    @property
    def zero(self) -> int:
        """The uint8 number that stands for 0."""
        return int(np.clip(round(-self.low / self.scale), 0, 255))

    def widened(self, values: NDArray[np.float32]) -> Range:
        return Range(min(self.low, float(values.min(initial=0))), max(self.high, float(values.max(initial=0))))


def ranges_of(data: bytes, names: Sequence[str], texts: Sequence[Sequence[int]]) -> Mapping[str, Range]:
    """The range of each named tensor of an fp32 .onnx file over ``texts``, as ids."""
    model = onnx.load_from_string(data)
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = open_session(model.SerializeToString(), "the encoder", threads=1)
    ranges = dict.fromkeys(names, Range())
    for text in texts:
        ids = np.array([text], np.int64)
        values = session.run(list(names), dict(zip(INPUTS, (ids, np.ones_like(ids)), strict=True)))
        ranges = {name: ranges[name].widened(value) for name, value in zip(names, values, strict=True)}
    return ranges


def add_range(graph: Any, name: str, given: Range) -> tuple[str, str]:
    """Initializers with the scale and the zero point of a range: their names."""
    scale = add(graph, f"{name}.scale", np.array(given.scale, np.float32))
    return scale, add(graph, f"{name}.zero", np.array(given.zero, np.uint8))
