"""The layers' products by oneDNN and in bf16: the plain path's vectors, within rounding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import world
from torch import Tensor, nn

from osparse.contracts.model import Model
from osparse.encoders.kernels import products
from osparse.encoders.kernels.products import OneDnnProducts
from osparse.encoders.torch_encoder import SparseEncoder, TextEncoder
from osparse.errors import InputError

TEXTS = [record[2] for record in world.RECORDS]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 384), (2, 3, 384)])
def test_onednn_multiplies_as_torch_does(bias: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer, inputs = nn.Linear(384, 400, bias=bias), torch.randn(shape)
    with torch.inference_mode():
        plain = layer(inputs)
        with OneDnnProducts():
            mine = layer(inputs)
    torch.testing.assert_close(mine, plain, rtol=0, atol=1e-5)


def test_narrow_or_other_products_stay_torchs() -> None:
    torch.manual_seed(0)
    with torch.inference_mode(), OneDnnProducts():
        for dtype, width in ((torch.float32, 383), (torch.float64, 384), (torch.bfloat16, 384)):
            layer, inputs = nn.Linear(384, width, dtype=dtype), torch.randn(4, 384, dtype=dtype)
            assert torch.equal(layer(inputs), torch.addmm(layer.bias, inputs, layer.weight.T))


def test_a_text_encoder_uses_it_and_gives_the_same_vectors(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = TextEncoder.open(model).encode(TEXTS)
    multiplied = []
    original = products._suits_onednn

    def counted(inputs: Tensor, weight: Tensor) -> bool:
        multiplied.append(original(inputs, weight))
        return multiplied[-1]

    monkeypatch.setattr(products, "WIDE", 1)
    monkeypatch.setattr(products, "_suits_onednn", counted)
    for mine, other in zip(TextEncoder.open(model).encode(TEXTS), plain, strict=True):
        assert mine.keys() == other.keys()
        assert all(abs(mine[token] - other[token]) < 1e-5 for token in other)
    assert multiplied and all(multiplied)


def test_bf16_is_near_and_its_head_is_exact(model: Model) -> None:
    fp32, bf16 = (TextEncoder.open(model, precision=precision) for precision in ("fp32", "bf16"))
    differences = [
        abs(mine.get(token, 0.0) - weight)
        for mine, other in zip(bf16.encode(TEXTS), fp32.encode(TEXTS), strict=True)
        for token, weight in other.items()
    ]
    assert 1e-4 < max(differences) < 0.1
    seen = []
    decoder = bf16.encoder.decoder.weight
    hidden = bf16.encoder.from_hidden

    def watched(states: Tensor, *rest: Any) -> Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return hidden(states, *rest)

    bf16.encoder.from_hidden = watched  # type: ignore[method-assign, assignment]
    bf16.encode(TEXTS[:1])
    assert seen == [False] and decoder.dtype == torch.float32


def test_a_precision_that_does_not_fit_is_refused(model: Model) -> None:
    with pytest.raises(InputError, match="`precision` must be one of fp32, bf16, got 'int4'"):
        TextEncoder.open(model, precision="int4")  # type: ignore[arg-type]

    class Own(SparseEncoder):
        def forward(self, input_ids: Tensor, attention_mask: Tensor, columns: Tensor | None = None) -> Tensor:
            return super().forward(input_ids, attention_mask, columns)

    own = Own(TextEncoder.open(model).encoder.mlm, model.head)
    with pytest.raises(InputError, match="`precision=bf16` needs osparse's own forward; use fp32 for Own"):
        TextEncoder(own, model.path / "tokenizer.json", "bf16")
