"""Tokenizers of every family, made of the tests' little world; each with the decoder that its family usually has."""

from __future__ import annotations

from pathlib import Path

import world
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [text for record in world.RECORDS for text in record[1:]]


def with_special(tokenizer: Tokenizer) -> Tokenizer:
    pair = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=pair)
    return tokenizer


def byte_level(path: Path) -> Path:
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=world.SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    with_special(tokenizer).save(str(path))
    return path


def metaspace(path: Path) -> Path:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=world.SPECIAL, unk_token="[UNK]", show_progress=False
    )
    tokenizer.train_from_iterator([*TEXTS, "the the the then pear pears the"], trainer)
    with_special(tokenizer).save(str(path))
    return path


def wordpiece(path: Path) -> Path:
    tokenizer = Tokenizer.from_file(str(world.make_tokenizer(path)))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.save(str(path))
    return path
