"""The GTE masked-LM against the same written again in numpy, against transformers' own, and against closed forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import plain_gte
import pytest
import torch
from plain_gte import DOC_V3_GTE, random_weights, write_folder

from osparse.encoders.torch_encoder import positions
from osparse.errors import ModelError
from osparse.masked_lm import gte
from osparse.masked_lm.architectures import find, of_folder
from osparse.masked_lm.gte_config import NewConfig, frequencies, not_implemented
from osparse.masked_lm.load import load_masked_lm

NTK = {"type": "ntk", "factor": 8.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "doc-v3-gte": {},
    "token types, NTK": {"type_vocab_size": 2, "rope_theta": 20000, "rope_scaling": NTK},
    "silu": {"hidden_act": "silu", "num_hidden_layers": 1},
    "relu, no padding id": {"hidden_act": "relu", "pad_token_id": None, "num_hidden_layers": 1},
}


@pytest.fixture(params=list(VARIANTS))
def variant(request: pytest.FixtureRequest) -> dict[str, Any]:
    return DOC_V3_GTE | VARIANTS[request.param]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_its_logits_are_those_of_the_plain_one(variant: dict[str, Any], attention: str, tmp_path: Path) -> None:
    weights = random_weights(variant)
    mlm = load_masked_lm(write_folder(tmp_path / "gte", variant, weights), attention)
    assert type(mlm) is gte.NewForMaskedLM and not (tmp_path / "gte" / "ran").exists()
    ids = torch.randint(5, 400, (3, 40), generator=torch.Generator().manual_seed(1))
    lengths = (1, 23, 40)
    mask = (torch.arange(40) < torch.tensor(lengths)[:, None]).long()
    with torch.inference_mode():
        found = mlm.eval()(ids * mask, mask).logits.numpy()
    for row, length, text in zip(found, lengths, ids.tolist(), strict=True):
        np.testing.assert_allclose(row[:length], plain_gte.logits(text[:length], weights, variant), atol=1e-5)


def test_the_longest_text_that_the_server_sends(tmp_path: Path) -> None:
    weights = random_weights(DOC_V3_GTE)
    mlm = load_masked_lm(write_folder(tmp_path / "gte", DOC_V3_GTE, weights), "eager").eval()
    assert positions(mlm) == 8192
    ids = torch.randint(5, 400, (1, 512), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = mlm(ids).logits[0].numpy()
    np.testing.assert_allclose(found, plain_gte.logits(ids[0].tolist(), weights, DOC_V3_GTE), atol=1e-5)


def test_its_logits_are_those_of_transformers_own(tmp_path: Path) -> None:
    """transformers 5.24 has the same network as model_type "gte", with other names for the same weights."""
    transformers = pytest.importorskip("transformers.models.gte")
    weights = random_weights(DOC_V3_GTE)
    mlm = load_masked_lm(write_folder(tmp_path / "gte", DOC_V3_GTE, weights), "sdpa").eval()
    sizes = {name: DOC_V3_GTE[name] for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                                                 "intermediate_size", "type_vocab_size", "pad_token_id")}  # fmt: skip
    rotation = {"rope_type": "default", "rope_theta": 500000}
    config = transformers.GteConfig(**sizes, rope_parameters=rotation)
    other = transformers.GteForMaskedLM.from_pretrained(tmp_path / "gte", config=config).eval()
    ids = torch.randint(5, 400, (2, 19), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(mlm(ids).logits, other(ids).logits, rtol=0, atol=1e-5)


def test_a_rotated_product_depends_on_the_distance_alone() -> None:
    config = NewConfig(**{k: v for k, v in DOC_V3_GTE.items() if k != "auto_map"})
    model = gte.NewModel(config)
    rotation = model._rotation(torch.zeros(1, 300, dtype=torch.int64))
    query, key = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0)).expand(2, 1, 1, 300, 8)
    products = (gte.rotated(query, rotation) @ gte.rotated(key, rotation).transpose(-1, -2))[0, 0]
    for distance in (-7, 0, 250):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-4)
    torch.testing.assert_close(products[5, 5], (query[0, 0, 0] @ key[0, 0, 0]), rtol=0, atol=1e-4)


def test_half_precision_keeps_the_angles() -> None:
    config = NewConfig(**{k: v for k, v in DOC_V3_GTE.items() if k != "auto_map"})
    ids = torch.zeros(1, 512, dtype=torch.int64)
    exact, rounded = gte.NewModel(config)._rotation(ids), gte.NewModel(config).bfloat16()._rotation(ids)
    assert all(torch.equal(a, b) for a, b in zip(exact, rounded, strict=True))
    assert frequencies(config).tolist() == pytest.approx([500000 ** (-i / 4) for i in range(4)], rel=1e-6)


def test_gradients_are_the_finite_differences() -> None:
    torch.manual_seed(0)
    small = {
        "hidden_size": 8,
        "num_attention_heads": 2,
        "intermediate_size": 6,
        "num_hidden_layers": 1,
        "vocab_size": 12,
    }
    mlm = gte.NewForMaskedLM(NewConfig(**{**DOC_V3_GTE, **small}, attn_implementation="eager")).double().eval()
    ids, mask = torch.tensor([[3, 4, 5], [6, 7, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    names, values = zip(*[(n, p.detach().mul(20).requires_grad_()) for n, p in mlm.named_parameters()], strict=True)

    def run(*parameters: torch.Tensor) -> torch.Tensor:
        called = torch.func.functional_call(mlm, dict(zip(names, parameters, strict=True)), (ids, mask))
        logits: torch.Tensor = called.logits[mask.bool()]
        return logits

    assert torch.autograd.gradcheck(run, values, atol=1e-4, fast_mode=True)


def test_checkpointed_gradients_are_the_same(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "gte", DOC_V3_GTE | {"hidden_dropout_prob": 0.0}, random_weights(DOC_V3_GTE))
    gradients = []
    for checkpointing in (False, True):
        mlm = load_masked_lm(folder, "sdpa").train()
        if checkpointing:
            mlm.activation_checkpointing_enable({"use_reentrant": False})
        mlm(torch.tensor([[5, 6, 7, 8]])).logits.square().sum().backward()
        gradients.append([p.grad for p in mlm.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_saved_folder_has_the_published_names_and_no_decoder(tmp_path: Path) -> None:
    weights = random_weights(DOC_V3_GTE)
    mlm = load_masked_lm(write_folder(tmp_path / "gte", DOC_V3_GTE, weights), "sdpa")
    assert mlm.lm_head.decoder.weight is mlm.new.embeddings.word_embeddings.weight
    mlm.save_pretrained(tmp_path / "saved")
    from safetensors.numpy import load_file

    saved = load_file(tmp_path / "saved" / "model.safetensors")
    assert saved.keys() == weights.keys() and all(np.array_equal(saved[name], weights[name]) for name in saved)
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    lost = {"torch_dtype", "transformers_version"}
    assert {key: config[key] for key in DOC_V3_GTE.keys() - lost} == {
        k: DOC_V3_GTE[k] for k in DOC_V3_GTE.keys() - lost
    }
    assert not not_implemented(config)


def test_a_decoder_of_its_own_is_read(tmp_path: Path) -> None:
    config, weights = DOC_V3_GTE | {"tie_word_embeddings": False}, random_weights(DOC_V3_GTE)
    with pytest.raises(ModelError, match=r"lm_head\.decoder\.weight"):
        load_masked_lm(write_folder(tmp_path / "lacking", config, weights), "eager")
    weights["lm_head.decoder.weight"] = random_weights(DOC_V3_GTE, 1)["new.embeddings.word_embeddings.weight"]
    mlm = load_masked_lm(write_folder(tmp_path / "own", config, weights), "eager")
    assert np.array_equal(mlm.lm_head.decoder.weight.detach().numpy(), weights["lm_head.decoder.weight"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"logn_attention_scale": True}, "logn_attention_scale is True"),
     ({"layer_norm_type": "rms_norm"}, "layer_norm_type is 'rms_norm'"),
     ({"position_embedding_type": "absolute"}, "position_embedding_type is 'absolute'"),
     ({"pack_qkv": False}, "pack_qkv is False"),
     ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling is .*linear"),
     ({"rope_scaling": {"type": "ntk", "factor": 2.0, "mixed_b": 0.5}}, "rope_scaling is .*mixed_b"),
     ({"rope_scaling": {"type": "ntk"}}, "rope_scaling is .*ntk"),
     ({"rope_scaling": "ntk"}, "rope_scaling is 'ntk'"),
     ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_parameters is .*yarn"),
     ({"rope_theta": 0}, "rope_theta is 0"),
     ({"hidden_act": "gelu_of_mine"}, "hidden_act is 'gelu_of_mine'"),
     ({"num_attention_heads": 5}, "hidden_size 32 is no even multiple of num_attention_heads 5"),
     ({"num_attention_heads": 32}, "hidden_size 32 is no even multiple"),
     ({"is_decoder": True}, "is_decoder is True, osparse computes an encoder without it"),
     ({"pruned_heads": {"0": [1]}}, "pruned_heads is .*without it"),
     ({"sliding_window": 128}, "sliding_window is no setting that osparse knows")],
)  # fmt: skip
@pytest.mark.parametrize(
    "load", [lambda folder: load_masked_lm(folder, "sdpa"), lambda folder: load_masked_lm(folder, "eager")]
)
def test_a_setting_that_is_not_computed_is_refused_by_name(
    load: Any, changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "gte", DOC_V3_GTE | changes, random_weights(DOC_V3_GTE))
    with pytest.raises(ModelError, match=rf"gte/config\.json: .*{said}"):
        load(folder)
    assert not (folder / "ran").exists()


def test_settings_as_transformers_5_writes_them(tmp_path: Path) -> None:
    """Both settings of the rotation in one dictionary, as the published code's classes save them with transformers 5."""
    old = DOC_V3_GTE | {"rope_theta": 20000, "rope_scaling": NTK}
    new = {k: v for k, v in old.items() if k not in ("rope_theta", "rope_scaling")}
    new["rope_parameters"] = {"rope_type": "ntk", "factor": 8.0, "rope_theta": 20000}
    assert not not_implemented(new)
    assert torch.equal(frequencies(NewConfig(**old)), frequencies(NewConfig(**new)))


TRANSFORMERS_4: dict[str, Any] = {
    "return_dict": False, "output_hidden_states": True, "output_attentions": False, "torchscript": False,
    "use_bfloat16": False, "tf_legacy_loss": False, "pruned_heads": {}, "tie_word_embeddings": True,
    "chunk_size_feed_forward": 0, "is_encoder_decoder": False, "is_decoder": False,
    "cross_attention_hidden_size": None, "add_cross_attention": False, "tie_encoder_decoder": False,
    "max_length": 20, "min_length": 0, "do_sample": False, "early_stopping": False, "num_beams": 1,
    "temperature": 1.0, "top_k": 50, "top_p": 1.0, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0,
    "bad_words_ids": None, "forced_bos_token_id": None, "suppress_tokens": None, "finetuning_task": None,
    "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}, "tokenizer_class": None, "prefix": None,
    "bos_token_id": None, "sep_token_id": None, "task_specific_params": None, "problem_type": None,
}  # fmt: skip
"""What to_dict of transformers 4 writes with every model."""


def test_settings_as_transformers_4_writes_them_change_no_logit(tmp_path: Path) -> None:
    weights, ids = random_weights(DOC_V3_GTE), torch.tensor([[5, 6, 7, 8]])
    logits = [
        load_masked_lm(write_folder(tmp_path / name, config, weights), "eager").eval()(ids).logits
        for name, config in (("as published", DOC_V3_GTE), ("written whole", DOC_V3_GTE | TRANSFORMERS_4))
    ]
    assert torch.equal(*logits)


def test_it_is_found_by_its_model_type(tmp_path: Path) -> None:
    assert of_folder(write_folder(tmp_path / "gte", DOC_V3_GTE, random_weights(DOC_V3_GTE))) is find("new") is gte.GTE


def test_a_tuple_on_demand_as_other_libraries_ask(tmp_path: Path) -> None:
    """sentence-transformers passes ``return_dict`` to every model."""
    mlm = load_masked_lm(write_folder(tmp_path / "gte", DOC_V3_GTE, random_weights(DOC_V3_GTE)), "eager").eval()
    ids = torch.tensor([[5, 6, 7]])
    (logits,) = mlm(ids, return_dict=False)
    assert torch.equal(logits, mlm(ids, return_dict=True).logits)
    assert torch.equal(mlm.new(ids, return_dict=False)[0], mlm.new(ids).last_hidden_state)
