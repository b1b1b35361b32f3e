"""What ``quantize`` asks for: a precision of the encoder's layers and one of its head.

    int8                        both parts
    layers=int8,head=fp16       each part its own; a part that is not named stays fp32

This file imports neither torch nor onnx.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from osparse.errors import InputError

Precision = Literal["fp32", "fp16", "int8", "int8-tensor", "int8-static"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
"""fp32: as it is. fp16: weights stored in 16 bits and computed in fp32, as ONNX Runtime has no 16-bit products on a
CPU. int8: weights with a scale for each output, activations with the scale that they have. int8-tensor: weights with
one scale for each matrix. int8-static: as int8, activations with scales found before on a dataset."""
PARTS = ("layers", "head")


@dataclass(frozen=True)
class Quantization:
    """A precision for each part of an encoder."""

    layers: Precision = "fp32"
    """Of the products between embeddings and head, and of embeddings that the head does not share."""
    head: Precision = "fp32"
    """Of the product with the vocabulary, and of embeddings that share its matrix."""
    texts: Sequence[Sequence[int]] = field(default=(), compare=False, repr=False)
    """Ids of texts that the scales of int8-static are taken from."""

    @property
    def calibrated(self) -> bool:
        """Whether a dataset is needed."""
        return "int8-static" in (self.layers, self.head)

    def __str__(self) -> str:
        return self.layers if self.layers == self.head else f"layers={self.layers},head={self.head}"


def parse(text: str) -> Quantization:
    """Raises :class:`InputError` naming what is not known."""
    if "=" not in text:
        return _checked(Quantization(_precision(text, text), _precision(text, text)), text)
    chosen: dict[str, Precision] = {}
    for item in text.split(","):
        part, _, value = item.strip().partition("=")
        if part not in PARTS or part in chosen:
            reason = "is given twice" if part in chosen else f"is not a part, which are {' and '.join(PARTS)}"
            raise InputError(f"`quantize`: {part!r} of {text!r} {reason}; write for example layers=int8,head=fp16")
        chosen[part] = _precision(value, text)
    return _checked(Quantization(chosen.get("layers", "fp32"), chosen.get("head", "fp32")), text)


def _precision(value: str, text: str) -> Precision:
    if value not in PRECISIONS:
        raise InputError(
            f"`quantize` must be one of {', '.join(PRECISIONS[1:])}, or name parts as in layers=int8,head=fp16; got "
            f"{value!r}" + (f" in {text!r}" if value != text else "")
        )
    return value


def _checked(choice: Quantization, text: str) -> Quantization:
    if choice == Quantization():
        raise InputError(f"`quantize`: {text!r} leaves every part in fp32; leave `quantize` out")
    return choice
