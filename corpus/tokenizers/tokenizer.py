"""``osparse corpus tokenizer``: a WordPiece, unigram or BPE tokenizer for Korean and English, fitted on one split.

Text is normalised to NFC and never stripped of accents: that would take Hangul apart into jamo. Every Hangul syllable
that the split holds is in the vocabulary, both at the start of a word and inside it, so that no Korean word made of
known syllables becomes [UNK]; so is every ASCII letter and digit. Needs tokenizers alone; transformers and
sentence-transformers read the folder.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_letters, ascii_lowercase, digits
from typing import Any, Literal

import polars as pl
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from osparse.algorithms.language import is_hangul
from osparse.contracts.dataset import Dataset
from osparse.corpus.tokenizers.bpe import fit_bpe
from osparse.corpus.tokenizers.unigram import fit_unigram
from osparse.errors import InputError
from osparse.formula.lexicon import load_tokenizer
from osparse.io.files import atomic_directory, pretty_json, read_json, sha256_file
from osparse.io.progress import track
from osparse.io.tables import row_batches
from osparse.opensearch_versions import SEISMIC_IDS

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MIN_COUNT = 2
"""Of a character other than a Hangul syllable, to enter the alphabet."""
READ = 1_024
"""Texts read at a time."""
RECIPE = 1
Kind = Literal["wordpiece", "unigram", "bpe"]

log = logging.getLogger("osparse.corpus.tokenizers.tokenizer")


@dataclass(frozen=True)
class TokenizerReport:
    path: Path
    vocabulary: int
    unknown_share: dict[str, float]
    """``split/language`` -> [UNK] per piece."""
    pieces_per_word: dict[str, float]
    """``split/language`` -> pieces per whitespace-separated word."""


def train_tokenizer(
    dataset: Dataset,
    output: Path | str,
    *,
    vocab_size: int = 16_000,
    split: str | None = None,
    lowercase: bool = True,
    kind: Kind = "wordpiece",
    overwrite: bool = False,
) -> TokenizerReport:
    """Fit a tokenizer on a split's documents and queries and write a Hugging Face tokenizer folder.

    The split is ``train`` where the dataset has it, else ``all``, if none is given.
    Equal input, equal bytes. The report's figures are over the other splits, none of which the tokenizer has seen.

    Raises:
        InputError: ``vocab_size`` too small for the alphabet; ``output`` made from other inputs.
        DatasetError: the dataset lacks the split.
    """
    output = Path(output)
    if vocab_size <= len(SPECIAL):
        raise InputError(f"`vocab_size` must be at least {len(SPECIAL) + 1}, got {vocab_size}")
    if vocab_size > SEISMIC_IDS:
        log.warning(
            "a sparse_vector field takes at most %s tokens: a model of %s can be trimmed for it with osparse package "
            "MODEL --vocabulary %d --dataset DATASET, or served from rank_features",
            f"{SEISMIC_IDS:,}",
            f"{vocab_size:,}",
            SEISMIC_IDS,
        )
    split = split or dataset.learning_split
    request = {
        "recipe": RECIPE,
        "dataset": dataset.fingerprint,
        "split": split,
        "vocab_size": vocab_size,
        "lowercase": lowercase,
        "kind": None if kind == "wordpiece" else kind,  # the first kind there was; its folders do not say
    }
    if output.exists() and not overwrite and _up_to_date(output, request):
        log.info("%s is up to date", output)
        return _report(output, dataset, split)
    texts = _Texts([dataset.split_documents(split), dataset.split_queries(split)])
    if kind == "wordpiece":
        tokenizer = fit(texts, vocab_size, lowercase=lowercase)
    else:
        train = fit_unigram if kind == "unigram" else fit_bpe
        tokenizer = train(texts, vocab_size, _untrained(lowercase).normalizer, SPECIAL, lowercase=lowercase)
    with atomic_directory(output, marker="tokenizer.meta.json", overwrite=overwrite) as folder:
        _write(folder, tokenizer, request, lowercase)
    return _report(output, dataset, split)


def fit(texts: Collection[str], vocab_size: int, *, lowercase: bool = True) -> Tokenizer:
    """Train WordPiece on texts and return the finished tokenizer; raises :class:`InputError` if V is too small.

    The texts are read twice, and none is held; memory grows with the distinct words.

    The library numbers word-internal characters in the order of a randomly seeded hash map, and breaks ties by number.
    Passing the whole alphabet as "special" tokens fixes the numbers beforehand; the finished tokenizer is then built
    from the vocabulary alone.
    """
    blank = _untrained(lowercase)
    characters: set[str] = set()

    def words() -> Iterator[str]:
        for text in track(texts, "reading characters", unit="texts"):
            normal = blank.normalizer.normalize_str(text)
            characters.update(normal)
            yield from (word for word, _ in blank.pre_tokenizer.pre_tokenize_str(normal))

    alphabet = _alphabet(words(), lowercase)
    known = {token for token in alphabet if len(token) == 1}
    # the trainer would glue the neighbours of a character outside the alphabet together
    outside = str.maketrans(dict.fromkeys(characters - known, " "))
    fixed = [*SPECIAL, *alphabet]
    if vocab_size < len(fixed):
        raise InputError(f"vocab-size {vocab_size:,} is too small: the alphabet alone takes {len(fixed):,}")
    trained = _untrained(lowercase)
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=fixed,
        initial_alphabet=sorted(known),
        limit_alphabet=len(known),
        show_progress=log.isEnabledFor(logging.INFO),
    )
    normal = (blank.normalizer.normalize_str(text).translate(outside) for text in texts)
    trained.train_from_iterator(normal, trainer, length=len(texts))
    tokens = sorted(trained.get_vocab(), key=trained.get_vocab().__getitem__)
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = _untrained(lowercase, vocabulary)
    tokenizer.add_special_tokens(list(SPECIAL))
    ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return tokenizer


def _untrained(lowercase: bool, vocabulary: dict[str, int] | None = None) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocabulary or {}, unk_token="[UNK]", max_input_chars_per_word=100))
    bert = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=lowercase
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), bert])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def _alphabet(words: Iterable[str], lowercase: bool) -> list[str]:
    """Characters as they may begin a word, then as they may go on in one (``##``), each by code point."""
    first: Counter[str] = Counter()
    inner: Counter[str] = Counter()
    for word in words:
        first[word[0]] += 1
        inner.update(word[1:])
    total = first + inner
    plain = set(ascii_lowercase + digits if lowercase else ascii_letters + digits)
    kept = plain | {character for character, count in total.items() if count >= MIN_COUNT or is_hangul(character)}
    inside = plain | {character for character in kept if inner[character] or is_hangul(character)}
    return [*sorted(kept), *(f"##{character}" for character in sorted(inside))]


def _write(folder: Path, tokenizer: Tokenizer, request: Mapping[str, Any], lowercase: bool) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    if isinstance(tokenizer.model, models.WordPiece):
        vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
        (folder / "vocab.txt").write_text("".join(f"{token}\n" for token, _ in vocabulary), encoding="utf-8")
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    config = {
        # Not BertTokenizer: that class rebuilds its own normaliser from flags and would leave NFC out.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "do_lower_case": lowercase,
        "model_max_length": 512,
        **dict(zip(names, SPECIAL, strict=True)),
    }
    (folder / "tokenizer_config.json").write_text(pretty_json(config), encoding="utf-8")
    meta = {**request, "sha256": sha256_file(folder / "tokenizer.json")}
    (folder / "tokenizer.meta.json").write_text(pretty_json(meta), encoding="utf-8")


def _up_to_date(output: Path, request: Mapping[str, Any]) -> bool:
    """False when the folder is empty; raises :class:`InputError` when it holds anything else than ``request``'s."""
    if output.is_dir() and not any(output.iterdir()):
        return False
    meta, file = output / "tokenizer.meta.json", output / "tokenizer.json"
    found = read_json(meta) if meta.is_file() else {}
    same = isinstance(found, dict) and {key: found.get(key) for key in request} == request
    if not same or not file.is_file() or found["sha256"] != sha256_file(file):
        raise InputError(
            f"{output} exists, made from other inputs; replace it with `overwrite=True`, or write another `output`"
        )
    return True


def _report(output: Path, dataset: Dataset, fitted: str) -> TokenizerReport:
    tokenizer = load_tokenizer(output / "tokenizer.json")
    unknown_id = SPECIAL.index("[UNK]")
    unknown: dict[str, float] = {}
    pieces: dict[str, float] = {}
    for split in ("validation", "test", "train"):
        if split == fitted or split not in dataset.splits:
            continue
        both = pl.concat(
            [f.select("text", "lang") for f in (dataset.split_documents(split), dataset.split_queries(split))]
        )
        totals: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for batch in row_batches(both, READ):
            encodings = tokenizer.encode_batch_fast([text for text, _ in batch], add_special_tokens=False)
            for (text, lang), encoding in zip(batch, encodings, strict=True):
                found = {
                    "unknown": encoding.ids.count(unknown_id),
                    "pieces": len(encoding.ids),
                    "words": len(text.split()),
                }
                totals[lang].update(found)
        for lang, total in sorted(totals.items()):
            unknown[f"{split}/{lang}"] = total["unknown"] / max(total["pieces"], 1)
            pieces[f"{split}/{lang}"] = total["pieces"] / max(total["words"], 1)
    return TokenizerReport(output, tokenizer.get_vocab_size(), unknown, pieces)


class _Texts(Collection[str]):
    """The texts of several tables one after another, read from their files each time."""

    def __init__(self, tables: Sequence[pl.LazyFrame]) -> None:
        self._texts = [table.select("text") for table in tables]
        self._count = sum(int(t.select(pl.len()).collect(engine="streaming").item()) for t in self._texts)

    def __iter__(self) -> Iterator[str]:
        return (text for table in self._texts for batch in row_batches(table, READ) for (text,) in batch)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, text: object) -> bool:
        return any(text == other for other in self)
