"""Products of an encoder's layers on a CPU, in place of ``torch.nn.functional.linear`` while a mode is entered.

oneDNN multiplies fp32 matrices of the widths that encoders have 13 to 18 % faster than torch's own choice, MKL, on AMD
processors (``docs/speed.md``). With int8 a product costs a quarter: each row of the weights, and each token as it
comes, is rounded to 255 steps of its own size, the products are summed exactly in int32, and both scales are
multiplied in afterwards. What that loses is measured there too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import local
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from osparse.errors import InputError

LEVELS = 127
"""int8 steps on each side of zero."""
ROWS = 256
"""Tokens multiplied at a time in int8: their int32 sums stay in the cache."""
STEP = 32
"""Rows are rounded up to a multiple, so that oneDNN makes its kernels for few shapes."""
WIDE = 256
"""Inputs and outputs of a weight from which oneDNN's fp32 product is the faster one."""


class OneDnnProducts(TorchFunctionMode):
    """fp32 products by oneDNN, the weights as they lie; nothing is kept. For inference: there is no gradient."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is nn.functional.linear and not kwargs and _suits_onednn(*args[:2]):
            bias = args[2] if len(args) > 2 else None
            return torch.ops.mkldnn._linear_pointwise(args[0], args[1], bias, "none", [], "")
        return func(*args, **(kwargs or {}))


def has_onednn() -> bool:
    """Whether this torch has the product, which is not a public function."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _suits_onednn(inputs: Tensor, weight: Tensor) -> bool:
    return weight.is_cpu and weight.dtype == inputs.dtype == torch.float32 and min(weight.shape) >= WIDE


class Int8Products(TorchFunctionMode):
    """int8 products with the weights of some layers; others stay as they are. For inference; usable in many threads."""

    def __init__(self, layers: Iterable[nn.Linear]) -> None:
        """Raises :class:`InputError` where torch has no int8 product, or a layer is not on the CPU."""
        super().__init__()
        if not hasattr(torch, "_int_mm"):
            raise InputError(f"`precision=int8` needs a torch with an int8 product, got {torch.__version__}")
        self._quantiser = _Quantiser()
        self._products = {id(layer.weight): _Int8Product(layer, self._quantiser) for layer in layers}

    def __exit__(self, *exception: Any) -> None:
        self._quantiser.forget()
        super().__exit__(*exception)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is nn.functional.linear:
            product: Callable[[Tensor], Tensor] | None = self._products.get(id(args[1]))
            if product is not None:
                return product(args[0])
        return func(*args, **(kwargs or {}))


class _Int8Product:
    """inputs (.., K) -> (.., N): x W^T + b with W in int8."""

    def __init__(self, layer: nn.Linear, quantiser: _Quantiser) -> None:
        weight = layer.weight.detach().float()
        if not weight.is_cpu:
            raise InputError(f"`precision=int8` is for the CPU, the model is on {weight.device}")
        self._quantiser = quantiser
        steps, scale = quantised(weight)
        self._weight, self._scale = steps.T, scale  # (K, N), (N,)
        self._bias = layer.bias.detach().float() if layer.bias is not None else weight.new_zeros(len(weight))

    def __call__(self, inputs: Tensor) -> Tensor:
        parts = self._quantiser(inputs)
        width = self._weight.shape[1]
        outputs = torch.empty(sum(len(scale) for _, scale in parts), width)
        sums = torch.empty(len(parts[0][0]) if parts else 0, width, dtype=torch.int32)
        start = 0
        for steps, scale in parts:
            out = outputs[start : start + len(scale)]
            product = torch._int_mm(steps, self._weight, out=sums[: len(steps)])
            torch.mul(product[: len(scale)], scale[:, None], out=out)
            torch.addcmul(self._bias, out, self._scale, out=out)
            start += len(scale)
        return outputs.view(*inputs.shape[:-1], width)


class _Quantiser:
    """Inputs (.., K) -> the (steps, scales) of :data:`ROWS` rows at a time; the last answer of each thread is kept,
    because a layer's queries, keys and values have the same inputs."""

    def __init__(self) -> None:
        self._last = local()

    def __call__(self, inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
        if getattr(self._last, "inputs", None) is not inputs:
            rows = inputs.reshape(-1, inputs.shape[-1]).float()
            self._last.parts = [self._padded(part) for part in rows.split(ROWS)] if len(rows) else []
            self._last.inputs = inputs
        parts: list[tuple[Tensor, Tensor]] = self._last.parts
        return parts

    def forget(self) -> None:
        """Let go of what this thread keeps."""
        self._last.inputs = self._last.parts = None

    @staticmethod
    def _padded(rows: Tensor) -> tuple[Tensor, Tensor]:
        """int8 (R, K), R rounded up to a multiple of :data:`STEP`, and the (r,) scales of the rows."""
        steps, scale = quantised(rows)
        more = -len(rows) % STEP
        return (torch.cat([steps, steps.new_zeros(more, steps.shape[1])]) if more else steps), scale


def quantised(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(R, K) fp32 -> (R, K) int8 in steps of each row's own size, and these sizes (R,); a row of zeros has 1."""
    largest = torch.maximum(rows.amax(1), rows.amin(1).neg_())
    scale = torch.where(largest > 0, largest / LEVELS, torch.ones_like(largest))
    return (rows * scale.reciprocal()[:, None]).round_().clamp_(-LEVELS, LEVELS).to(torch.int8), scale
