from __future__ import annotations

import numpy as np
import torch
import world

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.encoders.torch_encoder import TextEncoder
from osparse.formula.activation import document_weights, sparse_dict


def test_encoder_equals_the_plain_formula(model: Model) -> None:
    encoder = TextEncoder.open(model)
    texts = [record[2] for record in world.RECORDS] + world.ODD_TEXTS
    vectors = encoder.encode(texts, batch_size=4)
    assert any(vectors)
    for text, vector in zip(texts, vectors, strict=True):
        encoder._tokenizer.enable_truncation(model.head.max_length)
        ids = torch.tensor([encoder._tokenizer.encode(text).ids])
        with torch.inference_mode():
            logits = encoder.encoder.mlm(input_ids=ids).logits[0].numpy()
        plain = sparse_dict(document_weights(logits, np.ones(len(logits), bool), model.head), model.lexicon.tokens)
        assert vector.keys() == plain.keys()
        assert np.allclose([vector[t] for t in plain], list(plain.values()), atol=1e-5)


def test_dataset_opens(dataset: Dataset) -> None:
    assert dataset.split_queries("test").collect().height == 4
