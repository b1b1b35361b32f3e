"""A unigram language-model tokenizer: what it cuts Korean into is nearer to morphemes than WordPiece's longest match.

Kudo 2018, "Subword regularization", arXiv 1804.10959, section 3.2, by the tokenizers library. No mark of a word's
beginning: a noun inside a Korean compound is the same token as the noun alone.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from string import ascii_letters, ascii_lowercase, digits

from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from tokenizers.normalizers import Normalizer

from osparse.errors import InputError

DECIMALS = 6
"""Of a token's log probability: what is beyond them depends on the order in which the trainer adds numbers up."""
BELOW = 1.0
"""How far under the least likely longer token a character stands that the trainer only keeps so that it is known."""


def fit_unigram(
    texts: Collection[str], vocab_size: int, normalizer: Normalizer, special: Sequence[str], *, lowercase: bool
) -> Tokenizer:
    """Train on texts as they come. Every character of them, every ASCII letter and digit is in the vocabulary.

    The trainer walks hash maps of random order: what that changes in scores is rounded away, but of tokens equally
    likely at the edge of the vocabulary one run may keep others than the next. (deb-koen's 12,000: equal bytes.)

    Raises :class:`InputError` if ``vocab_size`` is too small for them.
    """
    needed = {c for text in texts for c in normalizer.normalize_str(text) if not c.isspace()}
    if vocab_size < len(special) + len(needed):
        raise InputError(f"vocab-size {vocab_size:,} is too small: the text alone has {len(needed):,} characters")
    raw = _empty(normalizer)
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=list(special), unk_token=special[1], show_progress=False
    )
    raw.train_from_iterator(texts, trainer, length=len(texts))
    scores = dict(json.loads(raw.to_str())["model"]["vocab"][len(special) :])
    tokens = _settled(scores, ascii_lowercase + digits if lowercase else ascii_letters + digits)
    tokens = [*((name, 0.0) for name in special), *tokens]
    tokenizer = _empty(normalizer, models.Unigram(tokens, unk_id=1))
    tokenizer.add_special_tokens(list(special))
    ends = [(token, special.index(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return tokenizer


def _settled(scores: dict[str, float], wanted: str) -> list[tuple[str, float]]:
    """Tokens by falling score, then by name; characters kept for their own sake share one score, the lowest."""
    learnt = min((score for token, score in scores.items() if len(token) > 1), default=0.0)
    floor = round(learnt - BELOW, DECIMALS)
    settled = {
        token: floor if len(token) == 1 and score < learnt else round(score, DECIMALS)
        for token, score in scores.items()
    }
    settled |= {character: floor for character in wanted if character not in settled}
    return sorted(settled.items(), key=lambda pair: (-pair[1], pair[0]))


def _empty(normalizer: Normalizer, model: models.Unigram | None = None) -> Tokenizer:
    tokenizer = Tokenizer(model or models.Unigram())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer
