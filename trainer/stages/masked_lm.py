"""The masked-LM stage: labels are hidden tokens, the token itself, or its translation in the record's other text."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from osparse.encoders.sparse_head import max_over_tokens
from osparse.encoders.torch_encoder import SparseEncoder
from osparse.errors import ConfigError
from osparse.trainer.compute.distributed import process_rows, sum_value
from osparse.trainer.config.run_config import MaskedLm
from osparse.trainer.data.batch_sampler import BatchSampler, shares
from osparse.trainer.data.padding import Ids, SpecialTokens, buckets, window
from osparse.trainer.data.token_translation import pairwise
from osparse.trainer.data.training_records import TrainingRecords
from osparse.trainer.stages.base import Stateless, StepResult

log = logging.getLogger("osparse.trainer.stages.masked_lm")
IGNORE = -100
CALIBRATION_RECORDS = 64


class MaskedLmStage(Stateless):
    """Computes the gradients of one step at a time."""

    def __init__(
        self, encoder: SparseEncoder, config: MaskedLm, records: TrainingRecords, special: SpecialTokens, seed: int, *,
        micro_batch: int | None = None,
    ) -> None:  # fmt: skip
        """``micro_batch``: documents whose activations are held at a time; None holds all of the step."""
        require_mask(config, special)
        require_bias(encoder)
        self.encoder, self.config, self.records, self.special = encoder, config, records, special
        self.micro_batch = micro_batch
        self.seed = (seed, 1)
        self.sampler = BatchSampler(records.groups, config.batch, (*self.seed, 0), mixed=shares(records, config.mixing))
        vocabulary, limit = encoder.decoder.weight.shape[0], encoder.head.network_reads
        self.translations = pairwise(records, vocabulary, limit) if config.translated > 0 else {}

    def backward(self, step: int, scale: float = 1.0) -> StepResult:
        """Accumulate the gradients of step's loss: the mean over all labels of the global batch."""
        generator = np.random.default_rng([*self.seed, 1, step])
        inputs, labels, names = self.batch(step, generator)
        label_count = max(1, sum(int((label >= 0).sum()) for label in labels))
        columns = self._columns([*inputs, *labels], generator)
        local = range(len(inputs))[process_rows(len(inputs))]
        longest_first = sorted(local, key=lambda i: -len(inputs[i]))
        chunk = self.micro_batch or max(1, len(local))
        total = 0.0
        for start in range(0, len(local), chunk):
            chosen = longest_first[start : start + chunk]
            losses = self._losses([inputs[i] for i in chosen], [labels[i] for i in chosen], columns)
            loss = torch.stack(list(losses)).sum() / label_count
            (loss * scale).backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return StepResult({"loss": sum_value(total), "labels": float(label_count)}, names)

    def batch(self, step: int, generator: np.random.Generator) -> tuple[list[Ids], list[Ids], list[str]]:
        """Of the global batch: input ids with masks, labels, and the ids of its records' queries."""
        inputs, labels, names = [], [], []
        for number in self.sampler.at(step):
            record = self.records.records[number]
            names += [q.id for q in record.queries]
            for lang in self.records.languages:
                in_language = [d for d in record.documents if d.lang == lang]
                if in_language:
                    text = in_language[int(generator.integers(len(in_language)))]
                    ids = window(text.ids, self.config.max_length - self.special.size, generator)
                    given, label = self._label(int(number), lang, ids, generator)
                    inputs.append(given)
                    labels.append(label)
        return inputs, labels, names

    def _columns(self, ids: list[Ids], generator: np.random.Generator) -> Ids:
        """(C,) sorted vocabulary ids the softmax runs over: a sampled softmax whose negatives are the step's own
        tokens and some drawn at random (Jean et al. 2015, arXiv 1412.2007, without its correction: what the step's
        frequent tokens lose by it is what IDF takes from them too)."""
        vocabulary = self.encoder.decoder.weight.shape[0]
        if not self.config.columns:
            return np.arange(vocabulary)
        drawn = generator.permutation(vocabulary)[: self.config.columns]
        columns = np.unique(np.concatenate([*ids, drawn]))
        return columns[columns >= 0]

    def _losses(self, inputs: list[Ids], labels: list[Ids], columns: Ids) -> Iterator[Tensor]:
        """Summed cross entropy of each bucket."""
        device, decoder = self.encoder.keep.device, self.encoder.decoder
        chosen_columns = torch.from_numpy(columns).to(device)
        weight, bias = decoder.weight.index_select(0, chosen_columns), decoder.bias.index_select(0, chosen_columns)
        for chosen, ids, mask in buckets(inputs, self.special):
            label = np.full(ids.shape, IGNORE, dtype=np.int64)
            for row, i in enumerate(chosen):
                start = len(self.special.before)
                label[row, start : start + len(labels[i])] = labels[i]
            at = torch.from_numpy(label != IGNORE).to(device)
            hidden = self.encoder.hidden(ids.to(device), mask.to(device)).float()[at]
            logits = torch.nn.functional.linear(hidden, weight, bias)  # (labels, C)
            places = torch.from_numpy(np.searchsorted(columns, label[label != IGNORE])).to(device)
            yield torch.nn.functional.cross_entropy(logits, places, reduction="sum")

    def _label(self, number: int, lang: str, ids: Ids, generator: np.random.Generator) -> tuple[Ids, Ids]:
        """Input ids with masks, and (n,) labels with :data:`IGNORE` where nothing is asked."""
        draw = generator.random(len(ids))
        masked = draw < self.config.masked
        translated = ~masked & (draw < self.config.masked + self.config.translated)
        kept = draw >= 1 - self.config.kept
        label = np.full(len(ids), IGNORE, dtype=np.int64)
        label[masked | kept] = ids[masked | kept]
        others = [b for b in self.records.languages if (lang, b) in self.translations]
        if others:
            other = others[int(generator.integers(len(others)))]
            positions, within = np.flatnonzero(translated), self.records.records[number].tokens(other)
            translations = self.translations[lang, other].sample(ids[positions], within, generator)
            label[positions[translations >= 0]] = translations[translations >= 0]
        given = ids.copy()
        if self.special.mask is not None:
            given[masked] = self.special.mask
        return given, label

    def finish(self) -> None:
        """Shift the output bias so that a training document has ``active_terms`` positive logits on average."""
        chosen = np.linspace(0, len(self.records) - 1, min(CALIBRATION_RECORDS, len(self.records))).astype(int)
        texts = [
            d.ids[: self.config.max_length - self.special.size]
            for n in chosen
            for d in self.records.records[n].documents
        ]
        shift = calibrate(self.encoder, texts, self.special, self.config.active_terms)
        log.info("output bias shifted by %.3f for %d active terms", -shift, self.config.active_terms)


def require_bias(encoder: SparseEncoder) -> None:
    """Raises :class:`ConfigError` if the decoder has no output bias, which this stage sets at its end."""
    if encoder.decoder.bias is None:
        raise ConfigError("stages.mlm", ["active_terms: the model's decoder has no bias to set; leave the stage out"])


def require_mask(config: MaskedLm, special: SpecialTokens) -> None:
    """Raises :class:`ConfigError` if tokens are to be masked and the tokenizer has no mask."""
    if config.masked > 0 and special.mask is None:
        raise ConfigError("stages.mlm", ["masked: the tokenizer has neither [MASK] nor <mask>; set masked: 0"])


def calibrate(encoder: SparseEncoder, texts: list[NDArray[np.int64]], special: SpecialTokens, active: int) -> float:
    """Lower the decoder bias by one number so that on average ``active`` terms are positive; returns the number."""
    decoder, device = encoder.decoder, encoder.keep.device
    lifted = 128.0  # added so that the head's relu cuts nothing
    peaks = []
    with torch.no_grad():
        for _, ids, mask in buckets(texts, special):
            hidden = encoder.hidden(ids.to(device), mask.to(device)).float()
            peak = max_over_tokens(hidden, mask.bool().to(device), decoder.weight, decoder.bias + lifted)
            peaks.append((peak - lifted)[:, encoder.keep > 0])
        values = torch.cat(peaks).flatten()
        rank = max(1, values.numel() - active * len(texts))
        shift = float(values.kthvalue(rank).values)
        decoder.bias.sub_(shift)
    return shift
