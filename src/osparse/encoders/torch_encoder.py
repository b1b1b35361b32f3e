"""The document encoder in torch: a masked-LM's body and transform, then the sparse head. Imported late."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from osparse.contracts.model import Model
from osparse.encoders.kernels.products import OneDnnProducts, has_onednn
from osparse.encoders.lexical_table import LexicalTable, read_table
from osparse.encoders.onnx_encoder import in_order, pad
from osparse.encoders.screen import Screen, pays
from osparse.encoders.sparse_head import max_over_tokens
from osparse.encoders.threads import side_by_side
from osparse.errors import InputError, ModelError
from osparse.formula.head import Head
from osparse.formula.lexicon import load_tokenizer, vocabulary_of
from osparse.masked_lm.architectures import MaskedLm, find
from osparse.masked_lm.load import load_masked_lm

STATES = 2_048 * 128
"""Numbers in the hidden states of a batch of texts on a CPU: what its layers hold stays in the processor's cache."""
FEWEST_TOKENS, MOST_TOKENS = 512, 2_048
"""Limits of a batch's padded tokens on a CPU."""
DEVICE_TOKENS = 65_536
"""Padded tokens of a batch on an accelerator."""
Precision = Literal["fp32", "bf16"]
"""What the layers are computed in; the head is computed in fp32. bf16 is torch.autocast, for a GPU."""


def positions(mlm: MaskedLm) -> int:
    """Ids that a text may have, special ones included, by the model's position embeddings."""
    return find(mlm.config.model_type).positions(mlm.config)


def decoder_rows(mlm: MaskedLm) -> int:
    """Rows of the masked-LM's decoder: the vocabulary, and what its author left unused."""
    return int(find(mlm.config.model_type).decoder(mlm).weight.shape[0])


class SparseEncoder(nn.Module):
    """(B, T) ids and mask -> (B, V) document weights; the formula of ``osparse.formula``, differentiable."""

    keep: Tensor
    """(V,) 1.0, and 0.0 for masked ids."""
    training_dtype: torch.dtype | None = None
    """What the body computes in while it is trained (torch.autocast); None leaves it in fp32."""

    def __init__(self, mlm: MaskedLm, head: Head, lexical: LexicalTable | None = None) -> None:
        """``lexical``: what a document's own tokens add to the weights."""
        super().__init__()
        self.architecture = find(mlm.config.model_type)
        self.mlm: Any = mlm
        self.head = head
        self.lexical = lexical
        rows = decoder_rows(mlm)
        if max(head.masked_ids, default=-1) >= rows:
            raise ModelError(
                f"head.masked_ids has {max(head.masked_ids)}, the decoder {rows} rows; they do not belong together"
            )
        keep = torch.ones(rows)
        keep[list(head.masked_ids)] = 0.0
        self.register_buffer("keep", keep, persistent=False)

    @property
    def decoder(self) -> nn.Linear:
        return self.architecture.decoder(self.mlm)

    def network_input(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) ids and mask of documents -> those that the network reads: the first ``head.network_reads``."""
        if self.head.network_length is None:
            return input_ids, attention_mask
        return input_ids[:, : self.head.network_reads], attention_mask[:, : self.head.network_reads]

    def hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T) -> (B, T, H) transformed hidden states, one matrix product short of the logits."""
        if self.training and self.training_dtype is not None:
            with torch.autocast(input_ids.device.type, self.training_dtype):
                return self._hidden(input_ids, attention_mask).float()
        return self._hidden(input_ids, attention_mask)

    def _hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.architecture.states(self.mlm, input_ids, attention_mask)
        return self.architecture.transform(self.mlm)(states)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, columns: Tensor | None = None) -> Tensor:
        """(B, T) int64 ids and mask -> (B, V) fp32 weights >= 0, before pruning.

        With ``columns`` (C,) only those vocabulary ids are computed: (B, C). A ranking loss needs no others, since a
        query touches its own tokens alone.
        """
        hidden = self.hidden(*self.network_input(input_ids, attention_mask))
        return self.from_hidden(hidden, input_ids, attention_mask, columns)

    def from_hidden(
        self, hidden: Tensor, input_ids: Tensor, attention_mask: Tensor, columns: Tensor | None = None
    ) -> Tensor:
        """:meth:`forward` from what :meth:`hidden` gives of the ids that the network reads."""
        decoder = self.decoder
        weight: Tensor = decoder.weight
        if columns is not None and len(columns) >= len(weight):  # as many rows need not be copied
            return self.from_hidden(hidden, input_ids, attention_mask).index_select(1, columns)
        bias: Tensor = decoder.bias if decoder.bias is not None else weight.new_zeros(weight.shape[0])
        if columns is not None:
            weight, bias = weight.index_select(0, columns), bias.index_select(0, columns)
        _, mask = self.network_input(input_ids, attention_mask)
        peak = max_over_tokens(hidden.float(), mask.bool(), weight.float(), bias.float())
        return self.with_lexical(self.activate(peak, columns), input_ids, attention_mask, columns)

    def activate(self, peak: Tensor, columns: Tensor | None = None) -> Tensor:
        """(B, V) or (B, C) largest relu-ed logits -> the network's weights, masked ids zero."""
        weights = torch.log1p(peak)
        if self.head.activation == "log1p_log1p_relu":
            weights = torch.log1p(weights)
        return weights * (self.keep if columns is None else self.keep[columns])

    def with_lexical(
        self, weights: Tensor, input_ids: Tensor, attention_mask: Tensor, columns: Tensor | None = None
    ) -> Tensor:
        """(B, V) or (B, C) the network's weights -> the document's: a share of them for its own tokens, and the table.

        Not in training mode: a table of the training texts' own translations would answer for the network there.
        """
        return weights if self.training else self.served(weights, input_ids, attention_mask, columns)

    def served(
        self, weights: Tensor, input_ids: Tensor, attention_mask: Tensor, columns: Tensor | None = None
    ) -> Tensor:
        """:meth:`with_lexical` in training mode too: what is pruned when a document is encoded to be indexed."""
        if self.head.own_share < 1:
            own = self.own_tokens(input_ids, attention_mask)
            weights = weights * torch.where(own if columns is None else own[:, columns], self.head.own_share, 1.0)
        if self.lexical is None:
            return weights
        added = torch.as_tensor(self.lexical(input_ids, attention_mask)) * self.keep
        return weights + (added if columns is None else added.index_select(1, columns))

    def own_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T) -> (B, V) true for the row's own tokens."""
        counts = self.keep.new_zeros(input_ids.shape[0], self.keep.shape[0])
        return counts.scatter_add(1, input_ids, attention_mask.to(counts.dtype)) > 0

    def kept_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor | None:
        """(B, T) -> (B, V) true for the tokens that pruning never drops, the row's own; None where it may drop all."""
        return self.own_tokens(input_ids, attention_mask) if self.head.keep_own else None

    def prune(self, weights: Tensor, own: Tensor | None = None) -> Tensor:
        """(B, V) -> (B, V): drop what is at most prune_ratio x the row's largest, keep the top_k largest.

        Ties with the k-th weight are kept, so a row may keep more than top_k. The weights of ``own`` (B, V), as
        :meth:`kept_tokens` gives it, are neither dropped nor counted.
        """
        kept = weights * (_never_less(weights, own) > self.head.prune_ratio * weights.amax(1, keepdim=True))
        if self.head.top_k is not None and self.head.top_k < kept.shape[1]:
            others = kept if own is None else kept.masked_fill(own, 0.0)
            kept = kept * (_never_less(kept, own) >= others.topk(self.head.top_k, dim=1).values[:, -1:])
        return kept


def _never_less(weights: Tensor, own: Tensor | None) -> Tensor:
    """The weights to compare with a threshold: those of ``own`` are above any."""
    return weights if own is None else weights.masked_fill(own, float("inf"))


class IdsEncoder:
    """Token ids of texts -> document vectors: batch by length, encode, prune.

    On a CPU each thread that torch has encodes batches of its own, one thread each: that costs no waiting for each
    other within a batch.
    """

    def __init__(self, encoder: SparseEncoder, precision: Precision = "fp32") -> None:
        """``encoder`` is in evaluation mode afterwards.

        Raises :class:`InputError` for a precision that is unknown, or not for this encoder.
        """
        if precision not in get_args(Precision):
            raise InputError(f"`precision` must be one of {', '.join(get_args(Precision))}, got {precision!r}")
        self.encoder = encoder.eval()
        self._screens: dict[tuple[int | None, ...], Screen] = {}
        self._products = _products(encoder, precision)

    def batches_of_ids(
        self, ids: Sequence[list[int]], batch_size: int = 32
    ) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Yield (positions in ``ids``, (B, V) pruned weights), longest texts first; B <= batch_size.

        ``ids``: of each text, special ones included, at most the head's ``max_length``.
        """
        encode = partial(self._encode, ids, self._screen())
        groups = list(grouped([len(i) for i in ids], batch_size, self._tokens()))
        threads = torch.get_num_threads() if self.encoder.keep.is_cpu else 1
        yield from zip(groups, side_by_side(encode, groups, threads), strict=True)

    def _screen(self) -> Screen | None:
        """The screen of the decoder's present weights; None where the plain product is as quick or means another."""
        decoder, encoder = self.encoder.decoder, self.encoder
        if not pays(decoder.weight) or type(encoder).forward is not SparseEncoder.forward:
            return None
        bias = decoder.bias if decoder.bias is not None else encoder.keep.new_zeros(len(encoder.keep))
        versions = [getattr(tensor, "_version", None) for tensor in (decoder.weight, bias)]
        if None in versions:  # a torch that does not count changes: the screen might be of other weights
            return None
        state = (decoder.weight.data_ptr(), bias.data_ptr(), *versions)
        if state not in self._screens:
            self._screens = {state: Screen(decoder.weight.detach(), bias.detach(), encoder.keep)}
        return self._screens[state]

    def _encode(self, ids: Sequence[list[int]], screen: Screen | None, group: list[int]) -> NDArray[np.float32]:
        """(B, V) pruned weights of the texts in ``group``."""
        padded, mask = pad([ids[i] for i in group])
        device = self.encoder.keep.device
        with torch.inference_mode():
            inputs = torch.from_numpy(padded).to(device), torch.from_numpy(mask).to(device)
            own = self.encoder.kept_tokens(*inputs)
            if type(self.encoder).forward is not SparseEncoder.forward:
                return _numpy(self.encoder.prune(self.encoder(*inputs), own))
            read = self.encoder.network_input(*inputs)
            with self._products():
                hidden = self.encoder.hidden(*read)
            if screen is None:
                return _numpy(self.encoder.prune(self.encoder.from_hidden(hidden, *inputs), own))
            rows = hidden.float()[read[1].bool()]  # (N, H)
            dense = torch.zeros(len(group), len(screen.weight))
            whole = self.encoder.lexical is not None or own is not None or self.encoder.head.own_share < 1
            for row, (terms, peak) in enumerate(screen.peaks(rows, read[1].sum(1).tolist())):
                if len(terms):
                    active = self.encoder.activate(peak[None], terms)
                    dense[row, terms] = (active if whole else self.encoder.prune(active))[0]
            return _numpy(self.encoder.prune(self.encoder.with_lexical(dense, *inputs), own) if whole else dense)

    def _tokens(self) -> int:
        """Padded tokens of a batch."""
        if not self.encoder.keep.is_cpu:
            return DEVICE_TOKENS
        return max(FEWEST_TOKENS, min(MOST_TOKENS, STATES // self.encoder.decoder.weight.shape[1]))


def _products(encoder: SparseEncoder, precision: Precision) -> Callable[[], AbstractContextManager[Any]]:
    """Makes the context in which the layers are computed."""
    if precision != "fp32" and type(encoder).forward is not SparseEncoder.forward:
        raise InputError(f"`precision={precision}` needs osparse's own forward; use fp32 for {type(encoder).__name__}")
    if precision == "bf16":
        return partial(torch.autocast, encoder.keep.device.type, torch.bfloat16)
    return OneDnnProducts if encoder.keep.is_cpu and has_onednn() else nullcontext


def _numpy(weights: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = weights.float().cpu().numpy()
    return array


class TextEncoder(IdsEncoder):
    """Texts -> document vectors with a trained model: tokenise, batch by length, encode, prune."""

    def __init__(self, encoder: SparseEncoder, tokenizer: Path | Tokenizer, precision: Precision = "fp32") -> None:
        """``tokenizer``: a tokenizer.json, or a tokenizer that does not pad; ``precision`` as :class:`IdsEncoder`."""
        super().__init__(encoder, precision)
        self._tokenizer = load_tokenizer(tokenizer) if isinstance(tokenizer, Path) else tokenizer
        self.tokens, _ = vocabulary_of(self._tokenizer)
        self._tokenizer.enable_truncation(encoder.head.max_length)

    @classmethod
    def open(
        cls, model: Model | Path | str, *, device: str = "cpu", attention: str = "sdpa", precision: Precision = "fp32"
    ) -> TextEncoder:
        """Load a model directory; ``attention`` as transformers names it: sdpa is quicker, eager can be traced.

        Raises :class:`ModelError` if its weights are not whole or do not fit.
        """
        model = model if isinstance(model, Model) else Model.open(model)
        mlm = load_masked_lm(model.path, attention)
        encoder = SparseEncoder(mlm, model.head, read_table(model.path, decoder_rows(mlm))).to(device)
        if encoder.decoder.weight.shape[0] < len(model.lexicon.tokens):
            raise ModelError(
                f"{model.path}: the decoder has {encoder.decoder.weight.shape[0]} rows, "
                f"the tokenizer {len(model.lexicon.tokens)} tokens; they do not belong together"
            )
        return cls(encoder, model.path / "tokenizer.json", precision)

    def batches(self, texts: Sequence[str], batch_size: int = 32) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Yield (positions in ``texts``, (B, V) pruned weights), longest texts first; B <= batch_size."""
        yield from self.batches_of_ids([e.ids for e in self._tokenizer.encode_batch_fast(list(texts))], batch_size)

    def encode(self, texts: Sequence[str], batch_size: int = 32) -> list[dict[str, float]]:
        """{raw token: weight} of each text, in the order given."""
        return in_order(self.batches(texts, batch_size), len(texts), self.tokens)


def grouped(lengths: Sequence[int], most: int, tokens: int) -> Iterator[list[int]]:
    """Positions of texts to encode together, longest first: at most ``most``, and ``tokens`` with the padding."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    start = 0
    while start < len(order):
        longest = max(1, lengths[order[start]])
        size = max(1, min(most, tokens // longest))
        yield order[start : start + size]
        start += size
