"""The ranking stage: documents through the encoder, queries looked up in the IDF table, losses between them.

A query is its distinct tokens and their IDF, so it costs no forward pass, and the losses need the document weights of
those tokens alone: only their columns of the vocabulary are computed, and a random few for FLOPS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from osparse.encoders.torch_encoder import IdsEncoder, SparseEncoder
from osparse.trainer.compute.distributed import gather_rows, process_rows, replicated
from osparse.trainer.compute.gradient_cache import cached_weights, random_state, set_random_state
from osparse.trainer.config.run_config import Distillation, Ranking, SparsityConfig
from osparse.trainer.data.batch import Batch, BatchMaker
from osparse.trainer.data.batch_sampler import BatchSampler, nearest, shares
from osparse.trainer.data.padding import Ids, SpecialTokens, buckets
from osparse.trainer.data.token_translation import pairwise
from osparse.trainer.data.training_records import TrainingRecords
from osparse.trainer.losses import (
    idf_scores,
    info_nce,
    kl_distillation,
    margin_mse,
    normalised_teachers,
    ranknet,
)
from osparse.trainer.losses.matryoshka import budgets_keeping, cut_to_budgets
from osparse.trainer.stages.base import StepResult
from osparse.trainer.stages.feedback import FeedbackQueries, Joined
from osparse.trainer.stages.sparsity import Sparsity
from osparse.trainer.stages.teachers import Scorer

ContrastiveLoss = Callable[..., Tensor]
"""(scores (Q, D), target (Q,), *, temperature, candidates (Q, D), weight (Q,)) -> scalar; see :func:`info_nce`."""


@dataclass(frozen=True, eq=False)
class BatchLosses:
    """The weighted ranking losses of a batch, as functions of its (Q, D) scores."""

    config: Ranking
    contrastive: ContrastiveLoss
    target: Tensor
    """(Q,) column of each query's positive."""
    weight: Tensor
    """(Q,)"""
    softmax: Tensor
    """(Q, D) bool: the documents of the contrastive loss."""
    allowed: Tensor
    """(Q, D) bool: the documents that the teachers scored."""
    teachers: Tensor | None
    """(M, Q, D) of M teachers."""

    def of(self, scores: Tensor) -> dict[str, Tensor]:
        """The losses by name."""
        config, losses = self.config, {}
        if config.contrastive:
            losses["ranking"] = config.contrastive * self.contrastive(
                scores, self.target, temperature=config.temperature, candidates=self.softmax, weight=self.weight
            )
        if config.distillation is not None and self.teachers is not None:
            distillation = distil(config.distillation, scores, self.teachers, self.allowed, self.target, self.weight)
            losses["distillation"] = config.distillation.weight * distillation
        return losses

    def self_distillation(self, scores: Tensor, cuts: Sequence[Tensor]) -> Tensor:
        """Mean over the budgets of KL(whole || cut) over a query's documents; the scores are those of both."""
        divergences = [
            kl_distillation(cut, scores, self.softmax, temperature=self.config.temperature, weight=self.weight)
            for cut in cuts
        ]
        return torch.stack(divergences).mean()


class RankingStage:
    """Computes the gradients of one step at a time."""

    def __init__(
        self, encoder: SparseEncoder, config: Ranking, sparsity: SparsityConfig, records: TrainingRecords,
        idf: NDArray[np.float32], special: SpecialTokens, seed: int, *,
        teachers: Sequence[Scorer] = (), micro_batch: int | None = None, loss: ContrastiveLoss = info_nce,
    ) -> None:  # fmt: skip
        """Args:
        idf: (V,) query weights; where the encoder has a parameter ``log_idf`` it counts instead.
        teachers: Of ``config.distillation``.
        micro_batch: Documents encoded at a time; None takes all at once.
        loss: The contrastive one.
        """
        self.encoder, self.config, self.records, self.special = encoder, config, records, special
        self.idf = torch.from_numpy(idf)
        self.seed = (seed, 2)
        self.teachers, self.micro_batch, self.loss = teachers, micro_batch, loss
        similar = nearest(records, idf, config.neighbours) if config.neighbours else None
        sampler = BatchSampler(records.groups, config.batch, (*self.seed, 0), similar, shares(records, config.mixing))
        vocabulary, limit = encoder.decoder.weight.shape[0], encoder.head.network_reads
        translations = pairwise(records, vocabulary, limit) if config.translated_queries else None
        self.batches = BatchMaker(records, sampler, config, config.max_length - special.size, translations)
        self.sparsity = Sparsity(sparsity, config.step_count, idf, vocabulary)
        self.feedback = FeedbackQueries(config.feedback, records, special, len(idf)) if config.feedback else None
        set_dropout(encoder, config.dropout)

    def backward(self, step: int, scale: float = 1.0) -> StepResult:
        """Accumulate the gradients of scale x step's loss: contrastive + distillation + lambda(step) x FLOPS.

        Raises :class:`CheckError` if the documents collapsed, or are dense, and the configuration asks to stop.
        """
        generator = np.random.default_rng([*self.seed, 1, step])
        batch = self.batches.at(step, generator)
        queries, joined = [query.ids for query in batch.queries], self._joined(step, batch)
        query_columns = np.unique(np.concatenate([*queries, *(more.ids for more in joined)]))  # (C,) sorted
        penalty_columns = self.sparsity.columns(generator)  # (P,)
        inputs = [column.ids for column in batch.columns]
        counted = len(query_columns) if self.config.matryoshka else 0
        columns = np.concatenate([query_columns, penalty_columns])
        encoded = self._encode(inputs, columns, counted)
        weights, counts = encoded[:, : len(columns)], encoded[:, len(columns) :]  # (D, C + P), (D, counted)
        query_weights, penalty_weights = weights[:, : len(query_columns)], weights[:, len(query_columns) :]
        ranking = self._ranking(batch, self._query_matrix(queries, query_columns, joined), query_weights, counts)
        slots = [column.slot for column in batch.columns]
        flops, penalty = self.sparsity.penalty(penalty_weights, penalty_columns, slots)
        weight = self.sparsity.weight(step)
        loss = torch.stack(list(ranking.values())).sum() + weight * penalty
        (loss * scale).backward()  # type: ignore[no-untyped-call]
        nonzeros = self._nonzeros(penalty_weights.detach())
        self.sparsity.observe(step, nonzeros, self._empty(inputs, (weights.detach() > 0).any(1)))
        parts = {
            "loss": float(loss.detach()),
            **{name: float(value.detach()) for name, value in ranking.items()},
            "flops": float(flops.detach()),
            "lambda": weight,
            "nonzeros": nonzeros,
        }
        return StepResult(parts, batch.names)

    def finish(self) -> None:
        """Nothing to do."""

    def state_dict(self) -> dict[str, Any]:
        return {**self.sparsity.state_dict(), **(self.feedback.state_dict() if self.feedback else {})}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.sparsity.load_state_dict(state)
        if self.feedback:
            self.feedback.load_state_dict(state)

    def _joined(self, step: int, batch: Batch) -> list[Joined]:
        """What feedback joins to each query; [] without feedback."""
        if self.feedback is None:
            return []
        if step % self.feedback.config.refresh == 0:
            training = self.encoder.training
            learnt = getattr(self.encoder, "log_idf", None)
            idf = self.idf if learnt is None else learnt.detach().float().exp().cpu()
            self.feedback.refresh(IdsEncoder(self.encoder), idf.numpy())
            self.encoder.train(training)
        return self.feedback.of(batch)

    def _ranking(self, batch: Batch, queries: Tensor, weights: Tensor, counts: Tensor) -> dict[str, Tensor]:
        """The weighted ranking losses by name.

        Args:
            queries: (Q, C). weights: (D, C). counts: (D, C) of :func:`budgets_keeping`; unused without budgets.
        """
        losses = self._batch_losses(batch, queries.device)
        scores = idf_scores(queries, weights)
        whole = losses.of(scores)
        config = self.config.matryoshka
        if config is None:
            return whole
        cuts = [idf_scores(queries, cut) for cut in cut_to_budgets(weights, counts, len(config.budgets))]
        each = [torch.stack([*losses.of(cut).values()]).sum() for cut in cuts]
        whole["budgets"] = config.weight * torch.stack(each).mean()
        if config.self_distillation:
            whole["self_distillation"] = config.self_distillation * losses.self_distillation(scores.detach(), cuts)
        return whole

    def _batch_losses(self, batch: Batch, device: torch.device) -> BatchLosses:
        target = torch.tensor([query.target for query in batch.queries], device=device)
        weight = torch.tensor([query.weight for query in batch.queries], device=device)
        pools = batch.pools(self.config.pool)
        allowed, teachers = pools.candidates, None
        if self.config.distillation is not None:
            allowed = pools.slate if self.config.distillation.over == "own" else pools.candidates
            teachers = torch.stack([self._taught(teacher, batch) for teacher in self.teachers])  # (M, Q, D)
            allowed, teachers = (allowed & ~teachers.isnan().any(0)).to(device), teachers.to(device)
        return BatchLosses(self.config, self.loss, target, weight, pools.softmax.to(device), allowed, teachers)

    def _taught(self, teacher: Scorer, batch: Batch) -> Tensor:
        """(Q, D) of one teacher, each process scoring its share of the documents."""
        scores = torch.from_numpy(teacher.scores(batch, process_rows(len(batch.columns))))
        device = self.encoder.keep.device
        return gather_rows(scores.T.contiguous().to(device), len(batch.columns)).T.cpu()

    def _encode(self, inputs: list[Ids], columns: NDArray[np.int64], counted: int = 0) -> Tensor:
        """(D, C + counted) weights of the columns, in the order of ``inputs``; this process encodes its share of them.

        The last are, of the first ``counted`` columns, how many of the budgets keep each weight.
        """
        device = self.encoder.keep.device
        chosen = torch.from_numpy(columns).to(device)

        def encode(part: Sequence[Ids]) -> Tensor:
            parts, order = [], []
            for rows, ids, mask in buckets(part, self.special):
                parts.append(self._weights(ids.to(device), mask.to(device), chosen, counted))
                order.append(rows)
            return torch.cat(parts)[torch.from_numpy(np.argsort(np.concatenate(order))).to(device)]

        local_inputs = inputs[process_rows(len(inputs))]
        if local_inputs:
            local_weights = cached_weights(encode, local_inputs, self.micro_batch)
        else:
            local_weights = torch.zeros(0, len(columns) + counted, device=device)
        return gather_rows(local_weights, len(inputs))

    def _weights(self, ids: Tensor, mask: Tensor, columns: Tensor, counted: int) -> Tensor:
        """(B, T) ids and mask -> (B, C + counted), as :meth:`_encode`."""
        if self.config.matryoshka is None or not counted:
            return torch.as_tensor(self.encoder(ids, mask, columns))
        weights = self.encoder(ids, mask)  # a cut needs all columns; the gradient is still of the chosen ones alone
        with torch.no_grad():
            served = self.encoder.prune(self.encoder.served(weights, ids, mask))
            counts = budgets_keeping(served, self.config.matryoshka.budgets, columns[:counted])
        return torch.cat([weights.index_select(1, columns), counts], 1)

    def _nonzeros(self, weights: Tensor) -> float:
        """Mean non-zeros per document, estimated from the (D, P) weights of the penalty's columns."""
        documents, columns = weights.shape
        return float((weights > 0).sum()) * self.sparsity.rows / columns / documents

    def _empty(self, inputs: list[Ids], active: Tensor) -> float:
        """Share of the documents without a weight, for the alarms; ``active`` (D,): one in the step's columns.

        Those without one in these are encoded again, in all columns and with the random state left as it was.
        """
        suspects = [inputs[i] for i in (~active).nonzero().flatten().tolist()] if self.sparsity.config.alarms else []
        if not suspects:
            return 0.0
        state = random_state()
        with torch.no_grad():
            weights = self._encode(suspects, np.arange(self.sparsity.rows))
        set_random_state(state)
        return float((~(weights > 0).any(1)).sum()) / len(inputs)

    def _query_matrix(self, queries: list[Ids], columns: Ids, joined: Sequence[Joined] = ()) -> Tensor:
        """(Q, C) idf(t) where the query holds t, learnable where the encoder has ``log_idf``, and what joins it."""
        learnt = getattr(self.encoder, "log_idf", None)
        rows = np.repeat(np.arange(len(queries)), [len(ids) for ids in queries])
        places = np.searchsorted(columns, np.concatenate(queries))
        holds = torch.zeros(len(queries), len(columns))
        holds[torch.from_numpy(rows), torch.from_numpy(places)] = 1.0
        chosen = torch.from_numpy(columns)
        device = self.encoder.keep.device
        if learnt is None:
            own = (holds * self.idf[chosen]).to(device)
        else:
            own = holds.to(device) * replicated(learnt)[chosen.to(device)].exp()
        return own + _joined_matrix(joined, columns).to(device) if joined else own


def _joined_matrix(joined: Sequence[Joined], columns: Ids) -> Tensor:
    """(Q, C)"""
    matrix = torch.zeros(len(joined), len(columns))
    for row, more in enumerate(joined):
        matrix[row, torch.from_numpy(np.searchsorted(columns, more.ids))] = torch.from_numpy(more.weights)
    return matrix


def set_dropout(encoder: nn.Module, share: float | None) -> None:
    """Drop so many of the hidden states from now on; None leaves the encoder as it is."""
    for name, module in encoder.named_modules():
        if share is not None and isinstance(module, nn.Dropout) and ".attention.self." not in name:
            module.p = share


def distil(
    config: Distillation, scores: Tensor, taught: Tensor, candidates: Tensor, target: Tensor, weight: Tensor
) -> Tensor:
    """The configured distillation loss.

    Args:
        scores: (Q, D). taught: (M, Q, D) of M teachers. candidates: (Q, D) bool, what every teacher scored.
        target: (Q,). weight: (Q,).
    """
    taught = taught.masked_fill(~candidates, 0.0)
    if config.scale is not None:
        teacher = normalised_teachers(taught, candidates, scale=config.scale)
    else:
        teacher = taught[0]
    if config.loss == "margin_mse":
        return margin_mse(scores, teacher, candidates, target, weight=weight)
    if config.loss == "ranknet":
        return ranknet(scores, teacher, candidates, weight=weight)
    return kl_distillation(scores, teacher, candidates, temperature=config.temperature, weight=weight)
