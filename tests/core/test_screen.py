from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
import world
from torch import Tensor

from osparse.contracts.model import Model
from osparse.encoders import screen as screen_module
from osparse.encoders import torch_encoder as encoder_module
from osparse.encoders.screen import Screen
from osparse.encoders.threads import side_by_side
from osparse.encoders.torch_encoder import SparseEncoder, TextEncoder, grouped
from osparse.formula.head import Head

TEXTS = [record[2] for record in world.RECORDS] + world.ODD_TEXTS


def plain(rows: Tensor, lengths: list[int], weight: Tensor, bias: Tensor) -> Tensor:
    """(B, V) relu-ed maxima in fp32."""
    parts = [
        (part @ weight.T).amax(0) + bias if len(part) else bias.new_zeros(len(bias)) for part in rows.split(lengths)
    ]
    return torch.stack(parts).relu()


def require_equal(rows: Tensor, lengths: list[int], weight: Tensor, bias: Tensor) -> int:
    """The screen's vectors are the plain ones; returns the terms that were computed."""
    keep = torch.ones(len(weight))
    keep[1] = 0
    found = Screen(weight, bias, keep).peaks(rows, lengths)
    wanted = plain(rows, lengths, weight, bias) * keep
    rounding = 2 * rows.shape[1] * 2.0**-24 * rows.norm(dim=1).amax() * weight.norm(dim=1) + 1e-12
    for (ids, peak), vector in zip(found, wanted, strict=True):
        dense = torch.zeros_like(vector)
        dense[ids] = peak
        assert not (torch.isin(ids, torch.tensor([1]))).any()
        assert ((dense > 0) >= (vector > rounding)).all(), "a non-zero was missed"
        assert ((dense - vector).abs() <= rounding).all()
    return sum(len(ids) for ids, _ in found)


@pytest.mark.parametrize("seed", range(12))
def test_random_weights_lose_no_non_zero(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    lengths = [1, 16, 17, 40, 5][: 1 + seed % 5]
    hidden, vocabulary = (8, 33, 128)[seed % 3], (50, 8_200)[seed % 2]
    rows = torch.randn(sum(lengths), hidden, generator=generator)
    weight = torch.randn(vocabulary, hidden, generator=generator)
    if seed % 4 == 1:  # outlying dimensions, as trained models have
        rows[:, 3] *= 30
        weight[:, 5] *= 30
    if seed % 4 == 2:  # rows of very different size
        weight *= 10 ** (6 * torch.rand(vocabulary, 1, generator=generator) - 3)
        rows *= 10 ** (2 * torch.rand(len(rows), 1, generator=generator))
    bias = -torch.quantile(plain(rows, lengths, weight, torch.full((vocabulary,), 1e6)) - 1e6, 0.98)
    computed = require_equal(rows, lengths, weight, bias.expand(vocabulary).clone())
    if seed % 4 in (0, 3) and vocabulary > 1000:
        assert computed < 0.3 * vocabulary * len(lengths)


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_terms_just_above_zero_whose_rounding_goes_all_one_way_are_found(size: float) -> None:
    generator = torch.Generator().manual_seed(7)
    row = torch.randn(1, 64, generator=generator)
    step = row.abs().amax() / 127
    lost = row - (row / step).round() * step  # what int8 loses of the row
    weight = torch.randn(300, 64, generator=generator) * 0.05 + lost.sign()  # ... counted whole by every term
    weight *= size
    exact = (row.double() @ weight.double().T)[0]
    above = exact.abs() * 1e-3
    require_equal(row, [1], weight, (above - exact).float())
    unsafe = ((row / step).round() * step) @ weight.T - exact.float() + above.float()
    assert (unsafe[0] < 0).float().mean() > 0.9  # without the bound they were lost


@pytest.mark.parametrize("odd", ["zero rows", "zero weights", "zero and huge", "nothing positive", "empty text"])
def test_odd_weights(odd: str) -> None:
    generator = torch.Generator().manual_seed(1)
    rows, weight = torch.randn(20, 16, generator=generator), torch.randn(70, 16, generator=generator)
    bias, lengths = torch.randn(70, generator=generator), [13, 7]
    if odd == "zero rows":
        rows.zero_()
    if odd == "zero weights":
        weight[::2] = 0
    if odd == "zero and huge":
        weight[::2], rows[0] = 0, rows[0] * 1e12
    if odd == "nothing positive":
        bias -= 1e3
    if odd == "empty text":
        lengths = [0, 20, 0]
        found = Screen(weight, bias, torch.ones(70)).peaks(rows, lengths)
        assert len(found[1][0]) and not len(found[0][0]) and not len(found[2][0])
        return
    computed = require_equal(rows, lengths, weight, bias)
    assert odd != "nothing positive" or not computed


def test_what_is_not_finite_is_computed_and_not_hidden() -> None:
    weight, bias = torch.randn(40, 8, generator=torch.Generator().manual_seed(0)), torch.full((40,), -100.0)
    weight[3, 0] = torch.nan
    rows = torch.ones(2, 8)
    ((ids, peak),) = Screen(weight, bias, torch.ones(40)).peaks(rows, [2])
    assert ids.tolist() == [3] and peak.isnan().all()
    rows[1, 1] = torch.inf
    ((ids, _),) = Screen(weight, bias, torch.ones(40)).peaks(rows, [2])
    assert len(ids) == 40


@pytest.fixture
def screened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "pays", lambda weight: True)


@pytest.mark.parametrize("lexical", [False, True])
@pytest.mark.parametrize(
    "head",
    [
        {}, {"top_k": 20}, {"prune_ratio": 0.3}, {"activation": "log1p_log1p_relu"}, {"own_share": 0.25},
        {"top_k": 20, "keep_own": True, "own_share": 0.5, "network_length": 6},
    ],
)  # fmt: skip
def test_a_text_encoder_gives_the_same_vectors_with_the_screen(
    head: dict[str, Any], lexical: bool, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    text_encoder = TextEncoder.open(model)
    if lexical:
        text_encoder.encoder.lexical = world.make_table(len(text_encoder.encoder.keep))
    text_encoder.encoder.head = Head(max_length=64, masked_ids=model.head.masked_ids, **head)
    wanted = text_encoder.encode(TEXTS)
    monkeypatch.setattr(encoder_module, "pays", lambda weight: True)
    found = text_encoder.encode(TEXTS)
    assert text_encoder._screens
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        assert all(abs(one[token] - other[token]) < 1e-5 for token in one)


def test_weights_changed_in_place_are_seen(model: Model, screened: None) -> None:
    text_encoder = TextEncoder.open(model)
    before = text_encoder.encode(TEXTS[:2])
    with torch.no_grad():
        text_encoder.encoder.decoder.bias.add_(1.0)
    after = text_encoder.encode(TEXTS[:2])
    assert all(len(b) > len(a) for a, b in zip(before, after, strict=True))
    with torch.no_grad():
        text_encoder.encoder.decoder.bias.sub_(1.0)
    assert [v.keys() for v in text_encoder.encode(TEXTS[:2])] == [v.keys() for v in before]


def test_another_forward_is_not_passed_by(model: Model, screened: None) -> None:
    class Nothing(SparseEncoder):
        def forward(self, input_ids: Tensor, attention_mask: Tensor, columns: Tensor | None = None) -> Tensor:
            return super().forward(input_ids, attention_mask, columns) * 0

    text_encoder = TextEncoder.open(model)
    own = TextEncoder(Nothing(text_encoder.encoder.mlm, model.head), model.path / "tokenizer.json")
    assert own.encode(TEXTS[:2]) == [{}, {}]


def test_it_pays_only_for_big_decoders_on_cpus_that_multiply_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True)
    assert screen_module.pays(torch.empty(30_522, 128)) and not screen_module.pays(torch.empty(400, 32))
    assert not screen_module.pays(torch.empty(30_522, 128, device="meta"))
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    assert not screen_module.pays(torch.empty(30_522, 128))


@pytest.mark.parametrize(("module", "name"), [(torch.cpu, "_is_vnni_supported"), (torch, "_int_mm")])
def test_a_torch_without_a_private_function_has_no_screen(
    module: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True)
    monkeypatch.delattr(module, name)
    assert not screen_module.pays(torch.empty(30_522, 128))


def test_two_threads_give_what_one_gives(model: Model) -> None:
    text_encoder = TextEncoder.open(model)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        wanted = list(text_encoder.batches(TEXTS, 2))
        torch.set_num_threads(2)
        found = list(text_encoder.batches(TEXTS, 2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    for (rows, weights), (wanted_rows, wanted_weights) in zip(found, wanted, strict=True):
        assert rows == wanted_rows
        np.testing.assert_allclose(weights, wanted_weights, atol=1e-6)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_side_by_side_keeps_order_holds_little_and_ends_cleanly(two_threads: None) -> None:
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        assert torch.get_num_threads() == 1
        if item == 50:
            raise ValueError("item 50")
        return item * item

    results = side_by_side(work, range(100), 2)
    assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
    assert len(begun) <= 5 + 3
    with pytest.raises(ValueError, match="item 50"):
        list(results)
    assert len(begun) < 60


def test_side_by_side_leaves_other_threads_their_number(two_threads: None) -> None:
    """While several iterators are read, when one is closed, and when one is given up half read."""

    def elsewhere() -> int:
        with ThreadPoolExecutor(1) as other:  # a thread that has not used torch before
            return other.submit(torch.get_num_threads).result()

    first, second = (side_by_side(str, range(20), threads) for threads in (2, 3))
    assert (next(first), next(second)) == ("0", "0")
    assert (torch.get_num_threads(), elsewhere()) == (2, 2)
    first.close()  # type: ignore[attr-defined]
    assert (torch.get_num_threads(), elsewhere()) == (2, 2)
    assert list(second) == [str(item) for item in range(1, 20)]
    assert (torch.get_num_threads(), elsewhere()) == (2, 2)


def test_texts_are_grouped_longest_first_within_both_limits() -> None:
    lengths = [5, 100, 0, 7, 60, 5, 5]
    groups = list(grouped(lengths, 3, 110))
    assert groups == [[1], [4], [3, 0, 5], [6, 2]]
    assert list(grouped([], 3, 110)) == []
    assert list(grouped([500], 3, 110)) == [[0]]
