from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from osparse.encoders import sparse_head
from osparse.encoders.screen import Screen
from osparse.encoders.sparse_head import max_over_tokens


def plain(hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    logits = hidden @ weight.T + bias
    return logits.masked_fill(~mask[:, :, None], -torch.inf).amax(1).relu()


def inputs(dtype: torch.dtype, batch: int = 3, length: int = 7, hidden: int = 5, vocabulary: int = 11) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    mask = torch.ones(batch, length, dtype=torch.bool)
    mask[1, 4:] = False
    mask[2] = False
    shapes = [(batch, length, hidden), (vocabulary, hidden), (vocabulary,)]
    h, w, b = (torch.randn(*s, generator=generator, dtype=dtype) for s in shapes)
    return [h, mask, w, b]


@pytest.mark.parametrize("block", [1, 30, 10_000])
@pytest.mark.parametrize("by_document", [True, False])
def test_equals_the_plain_formula(monkeypatch: pytest.MonkeyPatch, block: int, by_document: bool) -> None:
    monkeypatch.setattr(sparse_head, "BLOCK_ELEMENTS", block)
    monkeypatch.setattr(sparse_head, "DEVICE_BLOCK_ELEMENTS", block)
    monkeypatch.setattr(sparse_head, "_by_document", lambda hidden: by_document)
    h, mask, w, b = inputs(torch.float32)
    for tensor in (h, w, b):
        tensor.requires_grad_()
    found = max_over_tokens(h, mask, w, b)
    torch.testing.assert_close(found, plain(h, mask, w, b), rtol=0, atol=1e-6)
    assert not found[2].any()  # padding only
    seed = torch.randn(found.shape, generator=torch.Generator().manual_seed(4))
    mine = torch.autograd.grad((max_over_tokens(h, mask, w, b) * seed).sum(), (h, w, b))
    wanted = torch.autograd.grad((plain(h, mask, w, b) * seed).sum(), (h, w, b))
    for a, c in zip(mine, wanted, strict=True):
        torch.testing.assert_close(a, c, rtol=0, atol=1e-5)


@pytest.mark.parametrize("by_document", [True, False])
def test_gradcheck_in_float64(monkeypatch: pytest.MonkeyPatch, by_document: bool) -> None:
    monkeypatch.setattr(sparse_head, "_by_document", lambda hidden: by_document)
    h, mask, w, b = inputs(torch.float64)
    for tensor in (h, w, b):
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(lambda *t: max_over_tokens(t[0], mask, t[1], t[2]), (h, w, b))


@pytest.mark.parametrize("sparse", [True, False])
def test_a_screened_step_has_the_plain_weights_and_gradients(monkeypatch: pytest.MonkeyPatch, sparse: bool) -> None:
    h, mask, w, b = inputs(torch.float32, batch=5, length=20, hidden=64, vocabulary=600)
    b -= 22.0 if sparse else 0.0
    seed = torch.randn(5, 600, generator=torch.Generator().manual_seed(4))
    screened = list[int]()
    monkeypatch.setattr(sparse_head, "SCREENED", 600)
    monkeypatch.setattr(sparse_head, "SCREENED_TOKENS", 100)
    original = Screen.peaks

    def counted(*given: Any) -> Any:
        screened.append(1)
        return original(*given)

    monkeypatch.setattr(Screen, "peaks", counted)
    answers = []
    for pays in (True, False):
        monkeypatch.setattr(sparse_head, "pays", lambda weight, pays=pays: pays)
        tensors = [tensor.clone().requires_grad_() for tensor in (h, w, b)]
        weights = max_over_tokens(tensors[0], mask, tensors[1], tensors[2])
        answers.append([weights, *torch.autograd.grad((weights * seed).sum(), tensors)])
        assert len(screened) == (5 if sparse else 1)  # the rest of a batch that is not sparse is multiplied plainly
    assert 0 < (answers[0][0] > 0).float().mean() < (0.1 if sparse else 0.9)
    for mine, plain in zip(*answers, strict=True):
        torch.testing.assert_close(mine, plain, rtol=0, atol=1e-4)
    monkeypatch.setattr(sparse_head, "pays", lambda weight: True)
    with torch.no_grad():
        max_over_tokens(h, mask, w, b)
    assert len(screened) == (5 if sparse else 1)  # steps alone


def test_padding_to_twice_the_length_changes_nothing() -> None:
    h, mask, w, b = inputs(torch.float32)
    longer = torch.cat([h, torch.full_like(h, 100.0)], 1)
    wide = torch.cat([mask, torch.zeros_like(mask)], 1)
    torch.testing.assert_close(max_over_tokens(longer, wide, w, b), max_over_tokens(h, mask, w, b), rtol=0, atol=1e-6)


def test_a_negative_bias_at_padding_gives_no_weight() -> None:
    """With every real logit below zero the answer is zero, and so is the gradient."""
    h = torch.ones(1, 2, 3, requires_grad=True)
    w, b = torch.ones(4, 3), torch.full((4,), -5.0)
    found = max_over_tokens(h, torch.tensor([[True, False]]), w, b)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert not found.any()
    assert h.grad is not None and not h.grad.any()


def test_columns_are_a_part_of_the_whole() -> None:
    h, mask, w, b = inputs(torch.float32)
    columns = torch.tensor([7, 0, 3])
    torch.testing.assert_close(
        max_over_tokens(h, mask, w[columns], b[columns]), max_over_tokens(h, mask, w, b)[:, columns]
    )


def test_inputs_stay_untouched() -> None:
    tensors = inputs(torch.float32)
    before = [t.clone() for t in tensors]
    max_over_tokens(*tensors)
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))


class Largest(TorchDispatchMode):
    """Remembers the most elements that an operation gave."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, tuple | list) else [found]:
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return found


def test_no_pass_holds_a_logit_per_token_and_term(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_head, "BLOCK_ELEMENTS", 3_000)
    batch, length, vocabulary = 3, 40, 997
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(batch, length, 4, generator=generator, requires_grad=True)
    w = torch.randn(vocabulary, 4, generator=generator, requires_grad=True)
    with Largest() as seen:
        found = max_over_tokens(h, torch.ones(batch, length, dtype=torch.bool), w, torch.zeros(vocabulary))
        found.sum().backward()  # type: ignore[no-untyped-call]
    assert (found > 0).float().mean() > 0.9
    assert seen.elements <= vocabulary * 4  # the decoder itself


class Waits(TorchDispatchMode):
    """Counts the operations whose result the host must have from the device before it can go on."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket.__name__ in ("nonzero", "_local_scalar_dense", "masked_select", "unique_dim")
        indices = args[1] if func.overloadpacket.__name__ == "index" else ()
        self.count += any(index is not None and index.dtype == torch.bool for index in indices)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("batch", [1, 20])
def test_the_host_waits_once_in_a_pass_on_a_device(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(sparse_head, "_by_document", lambda hidden: False)
    h, mask, w, b = inputs(torch.float32, batch=max(batch, 3))
    with Waits() as seen:
        max_over_tokens(h[:batch].requires_grad_(), mask[:batch], w, b).sum().backward()  # type: ignore[no-untyped-call]
    assert seen.count == 1


@pytest.mark.parametrize("by_document", [True, False])
def test_no_tokens_give_nothing(monkeypatch: pytest.MonkeyPatch, by_document: bool) -> None:
    monkeypatch.setattr(sparse_head, "_by_document", lambda hidden: by_document)
    h, w = torch.zeros(2, 0, 4, requires_grad=True), torch.ones(9, 4, requires_grad=True)
    found = max_over_tokens(h, torch.zeros(2, 0, dtype=torch.bool), w, torch.ones(9))
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert found.shape == (2, 9) and not found.any()
    assert w.grad is not None and not w.grad.any()
