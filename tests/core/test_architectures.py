from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest
import torch
from tiny_mlm import VOCABULARY, tiny

from osparse.encoders.torch_encoder import SparseEncoder, positions
from osparse.errors import ModelError
from osparse.formula.activation import document_weights
from osparse.formula.head import Head
from osparse.masked_lm import architectures
from osparse.masked_lm.architectures import GROUP, find, known
from osparse.plugins import entry_points

KINDS = ("bert", "distilbert", "electra", "modernbert", "new", "roberta", "xlm-roberta")


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    """Entry points of other packages in place of the installed ones."""
    installed: list[EntryPoint] = []
    monkeypatch.setattr(entry_points, "entry_points", lambda group: installed)
    for cached in (find, entry_points.load):
        cached.cache_clear()
    yield installed
    for cached in (find, entry_points.load):
        cached.cache_clear()


def test_these_are_known() -> None:
    assert tuple(sorted(known())) == KINDS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ["log1p_relu", "log1p_log1p_relu"])
def test_every_architecture_equals_its_own_masked_lm(kind: str, activation: Any) -> None:
    mlm, head = tiny(kind), Head(activation=activation, max_length=32, masked_ids=(0, 1, 2))
    encoder = SparseEncoder(mlm, head).eval()
    with torch.no_grad():
        encoder.decoder.bias.uniform_(0, 1, generator=torch.Generator().manual_seed(1))
    ids = torch.randint(3, VOCABULARY, (3, 9), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    ids[1, 5:] = 0
    with torch.inference_mode():
        logits = mlm(input_ids=ids, attention_mask=mask).logits.numpy()
        found = encoder.prune(encoder(ids, mask)).numpy()
        columns = torch.tensor([7, 1, 30])
        part = encoder(ids, mask, columns).numpy()
    wanted = np.stack([document_weights(z, m.bool().numpy(), head) for z, m in zip(logits, mask, strict=True)])
    assert (found > 0).any()
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(part, wanted[:, [7, 1, 30]], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_no_vector(kind: str) -> None:
    mlm = tiny(kind)
    encoder = SparseEncoder(mlm, Head()).eval()
    with torch.no_grad():
        encoder.decoder.bias.uniform_(0, 1, generator=torch.Generator().manual_seed(1))
    ids = torch.randint(3, VOCABULARY, (2, 6), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    longer = torch.cat([ids, torch.full((2, 6), mlm.config.pad_token_id)], 1)
    with torch.inference_mode():
        alone, padded = encoder(ids, mask), encoder(longer, torch.cat([mask, torch.zeros_like(mask)], 1))
    assert (alone > 0).any()
    torch.testing.assert_close(padded, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_decoder_stays_tied_to_the_embeddings(kind: str) -> None:
    mlm = tiny(kind)
    decoder = find(kind).decoder(mlm)
    assert decoder.weight.data_ptr() == mlm.get_input_embeddings().weight.data_ptr()
    assert decoder.bias is not None


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_text_that_positions_allow_is_encoded(kind: str) -> None:
    mlm = tiny(kind)
    table = mlm.config.max_position_embeddings
    assert positions(mlm) == (table - 1 if kind in ("roberta", "xlm-roberta") else table)  # pad_token_id is 0
    longest = torch.full((1, min(positions(mlm), 514)), 7)
    SparseEncoder(mlm, Head()).hidden(longest, torch.ones_like(longest))


def test_an_unknown_architecture_is_refused_with_what_is_known_and_how_to_add_one() -> None:
    with pytest.raises(
        ModelError, match=r"'t5' is not among osparse\.architectures: bert, roberta, .*entry point t5 = .*"
    ) as told:
        find("t5")
    assert GROUP in str(told.value)


def test_another_package_adds_an_architecture(entries: list[EntryPoint]) -> None:
    entries.append(EntryPoint("my-bert", "osparse.masked_lm.architectures:BERT", GROUP))
    assert find("my-bert") is architectures.BERT


@pytest.mark.parametrize(
    ("values", "said"),
    [(("osparse.masked_lm.architectures:BERT", "osparse.masked_lm.architectures:ELECTRA"), "claimed by .*:BERT and .*:ELECTRA"),
     (("no_such_module:X",), "cannot be imported: No module named"),
     (("osparse.masked_lm.architectures:NOTHING",), "has no NOTHING"),
     (("osparse.masked_lm.architectures:GROUP",), "is str, not an")],
)  # fmt: skip
def test_broken_entry_points_are_named(values: tuple[str, ...], said: str, entries: list[EntryPoint]) -> None:
    entries += [EntryPoint("odd", value, GROUP) for value in values]
    with pytest.raises(ModelError, match=said):
        find("odd")
