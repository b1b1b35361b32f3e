"""The encoder with fewer rows gives what the whole one gives on the tokens that are left, in every architecture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import world
from tiny_mlm import VOCABULARY, tiny

from osparse.encoders.torch_encoder import SparseEncoder
from osparse.errors import InputError
from osparse.formula.head import Head
from osparse.packager.checkpoint.top_k import TopKOfAll
from osparse.packager.export.torchscript import Graph, TorchScriptRunner, export
from osparse.packager.vocabulary.rows import keep_rows

KINDS = ("bert", "roberta", "xlm-roberta", "distilbert", "modernbert", "electra", "new")
IDS = {0: 0, 1: 1, 2: 2, 7: 3, 49: 4, 30: 5, 12: 6}
"""Old id -> new id: some stay, some move, in no order."""
OLD = sorted(IDS, key=IDS.__getitem__)


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """New ids and a mask: two texts, one padded."""
    ids = torch.tensor([[1, 3, 4, 5, 6, 4, 2], [1, 6, 2, 0, 0, 0, 0]])
    return ids, torch.tensor([[1] * 7, [1, 1, 1, 0, 0, 0, 0]])


def untied(mlm: Any) -> Any:
    mlm.set_output_embeddings(torch.nn.Linear(mlm.get_output_embeddings().in_features, VOCABULARY))
    return mlm


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_tokens_that_are_left_keep_their_weights(kind: str, tied: bool) -> None:
    mlm = tiny(kind) if tied else untied(tiny(kind))
    with torch.no_grad():
        mlm.get_output_embeddings().weight.mul_(20)
        mlm.get_output_embeddings().bias.uniform_(-1, 1)
    whole = SparseEncoder(mlm, Head(masked_ids=(0, 1, 2, 40))).eval()
    kept = keep_rows(whole, IDS)
    ids, mask = rows()
    with torch.inference_mode():
        expected = whole(torch.tensor(OLD)[ids], mask)[:, OLD]
        assert kept(ids, mask).shape == (2, 7) and expected.max() > 0
        assert torch.equal(kept(ids, mask), expected) or (kept(ids, mask) - expected).abs().max() < 1e-6
        logits = kept.mlm(input_ids=ids, attention_mask=mask).logits
        before = whole.mlm(input_ids=torch.tensor(OLD)[ids], attention_mask=mask).logits[..., OLD]
        assert (logits - before).abs().max() < 1e-5, "the masked-LM itself too"
    is_tied = kept.decoder.weight is kept.mlm.get_input_embeddings().weight
    assert is_tied == (whole.decoder.weight is whole.mlm.get_input_embeddings().weight) == tied
    assert kept.head.masked_ids == (0, 1, 2) and kept.mlm.config.vocab_size == 7
    assert whole.mlm.config.vocab_size == VOCABULARY and len(whole.decoder.weight) == VOCABULARY, "the whole one stays"
    assert len(TorchScriptRunner(export(Graph(kept)))(ids.numpy(), mask.numpy())[0]) == 7


def test_layers_are_shared_and_not_copied() -> None:
    whole = SparseEncoder(tiny("bert"), Head()).eval()
    kept = keep_rows(whole, IDS)
    assert kept.mlm.bert.encoder.layer[0].output.dense.weight is whole.mlm.bert.encoder.layer[0].output.dense.weight
    vocabulary_rows = [name for name, p in kept.mlm.named_parameters() if VOCABULARY in p.shape]
    assert vocabulary_rows == [], "no parameter has a row for each of the old tokens"


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta"])
def test_positions_counted_from_another_padding_id_are_refused(kind: str) -> None:
    whole = SparseEncoder(tiny(kind), Head()).eval()
    with pytest.raises(InputError, match=f"padding token has id 0, from which {kind} counts its positions"):
        keep_rows(whole, {0: 1, 1: 0, 2: 2})
    bert = keep_rows(SparseEncoder(tiny("bert"), Head()).eval(), {0: 1, 1: 0, 2: 2})
    assert bert.mlm.config.pad_token_id == bert.mlm.get_input_embeddings().padding_idx == 1


def test_an_architecture_without_an_embedding_table_is_refused() -> None:
    whole = SparseEncoder(tiny("bert"), Head()).eval()
    whole.mlm.get_input_embeddings = lambda: None
    with pytest.raises(InputError, match="names no embedding table"):
        keep_rows(whole, IDS)


def test_entries_of_the_lexical_table_for_lost_tokens_weigh_nothing() -> None:
    whole = SparseEncoder(tiny("bert"), Head(), world.make_table(VOCABULARY)).eval()
    kept = keep_rows(whole, IDS)
    ids, mask = rows()
    assert whole.lexical is not None and kept.lexical is not None
    expected = whole.lexical(torch.tensor(OLD)[ids], mask)[:, OLD]
    assert torch.allclose(kept.lexical(ids, mask), expected, atol=1e-6) and expected.max() > 0


def test_the_kind_of_the_encoder_and_its_head_stay() -> None:
    head = Head("log1p_log1p_relu", 33, (0,), 0.1, 4)
    kept = keep_rows(TopKOfAll(tiny("bert"), head).eval(), IDS)
    assert isinstance(kept, TopKOfAll) and kept.head == replace(head, masked_ids=(0,))
