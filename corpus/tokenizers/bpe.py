"""A byte-pair-encoding tokenizer over characters: frequent pairs are merged, starting from whole Hangul syllables.

Sennrich, Haddow and Birch 2016, arXiv 1508.07909, by the tokenizers library. Like the unigram tokenizer it has no mark
of a word's beginning. (Over bytes a rare syllable would fall into three tokens that mean nothing.)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from string import ascii_letters, ascii_lowercase, digits

from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from tokenizers.normalizers import Normalizer

from osparse.errors import InputError


def fit_bpe(
    texts: Collection[str], vocab_size: int, normalizer: Normalizer, special: Sequence[str], *, lowercase: bool
) -> Tokenizer:
    """Train on texts as they come. Every character of them, every ASCII letter and digit is in the vocabulary.

    Raises :class:`InputError` if ``vocab_size`` is too small for them.
    """
    needed = {c for text in texts for c in normalizer.normalize_str(text) if not c.isspace()}
    needed |= set(ascii_lowercase + digits if lowercase else ascii_letters + digits)
    if vocab_size < len(special) + len(needed):
        raise InputError(f"vocab-size {vocab_size:,} is too small: the text alone has {len(needed):,} characters")
    tokenizer = Tokenizer(models.BPE(unk_token=special[1]))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(special), initial_alphabet=sorted(needed), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    ends = [(token, special.index(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return tokenizer
