from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import world

from osparse.contracts.dataset import Dataset
from osparse.encoders.torch_encoder import SparseEncoder
from osparse.formula.head import Head
from osparse.trainer.config.run_config import MaskedLm, WarmStart
from osparse.trainer.data.padding import SpecialTokens
from osparse.trainer.data.record_reader import read_records
from osparse.trainer.stages.masked_lm import IGNORE, MaskedLmStage, calibrate
from osparse.trainer.stages.warm_start import lsa, warm_start

CONFIG = MaskedLm(
    steps=4, batch=3, lr=1e-3, schedule="linear", warmup=0.0, max_length=32, masked=0.3, translated=0.4, kept=0.2,
    active_terms=40, columns=0,
)  # fmt: skip


def make(dataset: Dataset, folder: Path) -> tuple[MaskedLmStage, np.ndarray]:
    from transformers import BertConfig, BertForMaskedLM

    path = world.make_tokenizer(folder / "tokenizer.json")
    lexicon = world.make_lexicon(path)
    config = BertConfig(
        vocab_size=len(lexicon.tokens),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    encoder = SparseEncoder(BertForMaskedLM(config), Head(max_length=64, masked_ids=lexicon.special_ids))
    return MaskedLmStage(encoder, CONFIG, read_records(dataset, path, lexicon), SpecialTokens.of(path), 0), lexicon.idf


def test_labels_are_hidden_own_or_aligned_tokens(dataset: Dataset, tmp_path: Path) -> None:
    stage, _ = make(dataset, tmp_path)
    record = stage.records.records[0]
    document = next(d for d in record.documents if d.lang == "ko")
    aligned = set(record.tokens("en").tolist())
    kinds = {"masked": 0, "kept": 0, "translated": 0, "none": 0}
    for seed in range(50):
        given, label = stage._label(0, "ko", document.ids, np.random.default_rng(seed))
        for own, x, y in zip(document.ids, given, label, strict=True):
            kind = (
                "masked" if x == stage.special.mask else "none" if y == IGNORE else "kept" if y == own else "translated"
            )
            kinds[kind] += 1
            assert kind != "masked" or y == own
            assert kind != "translated" or int(y) in aligned
    assert min(kinds.values()) > 0
    assert abs(kinds["masked"] / sum(kinds.values()) - 0.3) < 0.05


def test_bias_is_set_for_the_asked_number_of_terms(dataset: Dataset, tmp_path: Path) -> None:
    stage, _ = make(dataset, tmp_path)
    texts = [d.ids for r in stage.records.records for d in r.documents]
    calibrate(stage.encoder, texts, stage.special, 40)
    with torch.inference_mode():
        counts = []
        for ids in texts:
            framed = torch.from_numpy(np.concatenate([stage.special.before, ids, stage.special.after]))[None]
            counts.append(int((stage.encoder(framed, torch.ones_like(framed)) > 0).sum()))
    assert abs(np.mean(counts) - 40) <= 1


def test_warm_start_puts_translations_together_and_keeps_own_tokens(dataset: Dataset, tmp_path: Path) -> None:
    stage, idf = make(dataset, tmp_path)
    latent = lsa(stage.records, idf, 4, 0)
    norms = np.linalg.norm(latent, axis=1)
    assert np.all((np.abs(norms - 1) < 1e-6) | (norms == 0))
    record = stage.records.records[0]
    ko, en = record.tokens("ko"), record.tokens("en")
    other = stage.records.records[1].tokens("en")
    assert (latent[ko] @ latent[en].T).mean() > (latent[ko] @ latent[other].T).mean() + 0.2
    warm_start(stage.encoder.mlm, WarmStart(share=0.5, norm=1.0), stage.records, idf, 0)
    with torch.inference_mode():
        for document in record.documents:
            hidden = stage.encoder.hidden(torch.from_numpy(document.ids)[None], torch.ones(1, len(document.ids)))[0]
            winners = (hidden @ stage.encoder.decoder.weight.T).argmax(1)
            assert (winners == torch.from_numpy(document.ids)).float().mean() > 0.9
