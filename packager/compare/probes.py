"""Probes: texts that go with a bundle, and the weights every server of it must give them.

The document weights are the formula of ``osparse.formula`` on logits computed in float64, rounded to 1e-6: not
any runtime's own answer, and the same on every machine.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from osparse.contracts.bundle import Probe
from osparse.encoders.torch_encoder import SparseEncoder
from osparse.formula.activation import document_weights, sparse_dict
from osparse.formula.head import Head
from osparse.formula.query_encoder import QueryEncoder
from osparse.io.files import canonical_json
from osparse.packager.checkpoint.top_k import TopKOfAll

_KO = "봄에 심은 배나무는 가을이 되어야 열매를 딴다. 물은 아침에 주고 가지는 겨울에 친다."
_EN = "The night ferry leaves the harbour at nine and reaches the island before the market opens."
TEXTS: tuple[tuple[str, str], ...] = (
    ("ko", "배나무 키우기"),
    ("ko", _KO),
    ("en", "a ferry timetable"),
    ("en", _EN),
    ("mixed", "파이썬 library로 search server 설치하기, version 2.0"),
    ("mixed", "C++/Rust 코드를 build.sh 로 3.11 에서 빌드"),
    ("ja", "庭の梨の木に白い花が咲きました。"),
    ("zh", "午后下雨了，渡轮晚点两小时。"),
    ("de", "Die Fähre erreicht die Insel früh, bevor der Markt öffnet."),
    ("ru", "Паром приходит на остров рано утром."),
    ("ar", "تصل العبارة إلى الجزيرة صباحا."),
    ("hi", "नाव सुबह द्वीप पर पहुँचती है।"),
    ("emoji", "🍐🍞 오늘 점심 🙂👍🏽"),
    ("nfd", "\u1112\u1161\u11ab\u1100\u1173\u11af \u110c\u1161\u1106\u1169 cafe\u0301"),
    ("empty", ""),
    ("one", "물"),
    ("repeated", "rain rain rain 비 비 비"),
    ("long", " ".join([_KO, _EN] * 40)),
)
"""(kind, text); written for osparse. The long one is past every truncation."""

SHARP = 1e-4
"""A pruned head must keep or drop every weight by more than this, or the text is left out: runtimes differ by it."""
_TOKENS = 64
"""Tokens whose float64 logits are held at a time."""


class ProbeMaker:
    """(kind, text) -> the text with its weights; None where a weight is too near to being pruned for any runtime."""

    def __init__(
        self, encoder: SparseEncoder, tokenizer: Tokenizer, query: QueryEncoder, tokens: Sequence[str]
    ) -> None:
        """``tokenizer``: the packaged one; ``tokens``: the raw token of each id."""
        self._encoder, self._tokenizer, self._query = encoder, tokenizer, query
        self._names = (*tokens, *[""] * (encoder.decoder.weight.shape[0] - len(tokens)))

    def __call__(self, kind_and_text: tuple[str, str]) -> Probe | None:
        kind, text = kind_and_text
        weights = _exact_weights(self._exact, self._tokenizer.encode(text).ids)
        if weights is None:
            return None
        document = {t: r for t, w in sparse_dict(weights, self._names).items() if (r := round(w, 6)) > 0}
        return Probe(text, kind, document, self._query.encode(text))

    @cached_property
    def _exact(self) -> SparseEncoder:
        return copy.deepcopy(self._encoder).double().eval()


def write_probes(path: Path, probes: Sequence[Probe]) -> None:
    path.write_text("".join(canonical_json(asdict(probe)) + "\n" for probe in probes), encoding="utf-8")


def _exact_weights(exact: SparseEncoder, ids: list[int]) -> NDArray[np.float32] | None:
    with torch.inference_mode():
        row = torch.tensor([ids])
        hidden = exact.hidden(*exact.network_input(row, torch.ones_like(row)))[0]  # (L, H)
        logits = [torch.nn.functional.linear(h, exact.decoder.weight).amax(0) for h in torch.split(hidden, _TOKENS)]
        peak = torch.stack(logits).amax(0) + (0 if exact.decoder.bias is None else exact.decoder.bias)  # (V,)
        added = None if exact.lexical is None else exact.lexical(row, torch.ones_like(row))[0].float().numpy()
    one = peak.numpy()[None].astype(np.float32), np.ones(1, bool)
    competing = () if isinstance(exact, TopKOfAll) else exact.head.masked_ids
    own = np.zeros(len(peak), bool)
    own[ids] = True
    head = replace(exact.head, masked_ids=competing)
    weights = document_weights(*one, head, added, own)
    unpruned = document_weights(*one, replace(head, prune_ratio=0.0, top_k=None), added, own)
    others = ~own if head.keep_own else np.ones_like(own)
    if not _is_sharp(weights[others], unpruned[others], head, unpruned.max(initial=0)):
        return None
    weights[list(exact.head.masked_ids)] = 0
    return weights


def _is_sharp(kept: NDArray[np.float32], every: NDArray[np.float32], head: Head, largest: float) -> bool:
    """Whether pruning left ``kept`` of ``every`` weight without a close decision; ``largest`` of the document's."""
    floor = head.prune_ratio * largest
    near_floor = head.prune_ratio > 0 and bool((np.abs(every[every > 0] - floor) <= SHARP).any())
    dropped = every[(kept == 0) & (every > floor)]
    tied = dropped.size > 0 and float(kept[kept > 0].min(initial=np.inf) - dropped.max()) <= SHARP
    return not (near_floor or tied)
