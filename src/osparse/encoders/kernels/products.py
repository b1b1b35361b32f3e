"""Products of an encoder's layers by oneDNN, in place of ``torch.nn.functional.linear`` while a mode is entered.

torch multiplies fp32 matrices by MKL. oneDNN, which torch also has, multiplies those of the widths that encoders have
10 to 27 % faster on the AMD EPYC of ``docs/speed.md``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

WIDE = 384
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
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _suits_onednn(inputs: Tensor, weight: Tensor) -> bool:
    return weight.is_cpu and weight.dtype == inputs.dtype == torch.float32 and min(weight.shape) >= WIDE
