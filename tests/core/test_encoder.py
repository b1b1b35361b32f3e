from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import world
from tiny_mlm import tiny

from osparse.contracts.model import Model
from osparse.encoders.torch_encoder import SparseEncoder, TextEncoder
from osparse.errors import ModelError
from osparse.formula.head import Head
from osparse.formula.pruning import prune as plain_prune
from osparse.masked_lm.architectures import known
from osparse.masked_lm.load import load_masked_lm

TEXTS = [record[2] for record in world.RECORDS] + world.ODD_TEXTS


def test_batching_and_padding_change_nothing(model: Model) -> None:
    encoder = TextEncoder.open(model)
    alone = [encoder.encode([text])[0] for text in TEXTS]
    for size in (2, 32):
        for one, other in zip(alone, encoder.encode(TEXTS, size), strict=True):
            assert one.keys() == other.keys()
            assert all(abs(one[token] - other[token]) < 1e-5 for token in one)


def test_special_and_unused_ids_have_no_weight(tmp_path: Any) -> None:
    made = world.make_model(tmp_path / "model", extra_rows=7)
    encoder = TextEncoder.open(made)
    for _, weights in encoder.batches(TEXTS):
        assert not weights[:, list(made.head.masked_ids)].any()
        assert weights.shape[1] == len(made.lexicon.tokens) + 7


@pytest.mark.parametrize(
    "head",
    [
        Head(top_k=3),
        Head(prune_ratio=0.5),
        Head(top_k=100, prune_ratio=0.2),
        Head(top_k=9, prune_ratio=0.4, keep_own=True),
    ],
)
def test_prune_is_the_formulas(model: Model, head: Head) -> None:
    encoder = SparseEncoder(tiny("bert"), head)
    weights = torch.rand(4, len(encoder.keep), generator=torch.Generator().manual_seed(0))
    weights[2] = 0
    ids, mask = torch.arange(28).reshape(4, 7), torch.tensor([7, 3, 5, 0])[:, None] > torch.arange(7)
    own = np.zeros(weights.shape, bool)
    for row in range(4):
        own[row, ids[row, mask[row]]] = True
    assert torch.equal(encoder.own_tokens(ids, mask), torch.from_numpy(own))
    wanted = np.stack([plain_prune(row, head, of_row) for row, of_row in zip(weights.numpy(), own, strict=True)])
    found = encoder.prune(weights, torch.from_numpy(own) if head.keep_own else None)
    np.testing.assert_array_equal(found.numpy(), wanted)
    assert not wanted[2].any()


def test_weights_that_do_not_fit_the_tokenizer_are_refused(tmp_path: Any) -> None:
    import shutil

    from transformers import BertConfig, BertForMaskedLM

    made = world.make_model(tmp_path / "model")
    small = BertForMaskedLM(
        BertConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    )
    small.save_pretrained(tmp_path / "small")
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(tmp_path / "small" / name, made.path / name)
    with pytest.raises(ModelError, match="do not belong together"):
        TextEncoder.open(made.path)


def copied(model: Model, folder: Any) -> Any:
    import shutil

    return shutil.copytree(model.path, folder)


@pytest.mark.parametrize("kind", list(known()))
def test_a_whole_checkpoint_of_every_architecture_loads(kind: str, tmp_path: Any) -> None:
    made = tiny(kind)
    made.save_pretrained(tmp_path)
    loaded = load_masked_lm(tmp_path, "eager")
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), loaded.parameters(), strict=True))


def test_missing_weights_are_refused(model: Model, tmp_path: Any) -> None:
    from safetensors.torch import load_file, save_file

    path = copied(model, tmp_path / "model")
    tensors = load_file(path / "model.safetensors")
    del tensors["bert.encoder.layer.1.output.dense.weight"], tensors["bert.encoder.layer.1.output.dense.bias"]
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 2 tensors of config.json, like bert\.encoder\.layer\.1"):
        TextEncoder.open(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("model.safetensors", "garbage", "cannot be read as a masked-LM"), ("config.json", "{", "is not JSON"),
     ("config.json", "{}", "names no model_type"), ("config.json", "[]", "names no model_type"),
     ("config.json", '{"model_type": "bert", "hidden_size": "wide"}', "cannot be read as a masked-LM")],
)  # fmt: skip
def test_files_that_are_no_model_are_refused(name: str, content: str, said: str, model: Model, tmp_path: Any) -> None:
    path = copied(model, tmp_path / "model")
    (path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=said):
        TextEncoder.open(path)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("max_length", "256", "max_length '256'"), ("masked_ids", [0, "1"], "masked_ids"), ("top_k", 2.5, "top_k 2.5"), ("keep_own", 1, "keep_own 1"), ("own_share", 2, "own_share 2"), ("network_length", 1, "network_length 1"),
     ("prune_ratio", "0", "prune_ratio '0'"), ("masked_ids", [-1], "masked_ids")],
)  # fmt: skip
def test_a_head_of_wrong_types_is_refused(key: str, value: Any, said: str, model: Model, tmp_path: Any) -> None:
    import json

    path = copied(model, tmp_path / "model")
    raw = json.loads((path / "osparse.json").read_text(encoding="utf-8"))
    raw["head"][key] = value
    (path / "osparse.json").write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(ModelError, match=said):
        Model.open(path)


def test_the_network_never_reads_more_than_max_length(model: Model) -> None:
    encoder = TextEncoder.open(model).encoder
    longest = encoder.head.max_length
    encoder.head = replace(encoder.head, network_length=longest + 5)
    ids = torch.ones(1, longest + 3, dtype=torch.long)
    assert [part.shape for part in encoder.network_input(ids, ids)] == [(1, longest)] * 2


def test_masked_ids_beyond_the_decoder_are_refused() -> None:
    with pytest.raises(ModelError, match="masked_ids has 50, the decoder 50 rows"):
        SparseEncoder(tiny("bert"), Head(masked_ids=(0, 50)))
