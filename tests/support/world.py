"""The small world the tests live in: a bilingual corpus, a tokenizer, a dataset and a model, all made in code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from osparse.contracts.dataset import Dataset, Source, save_dataset
from osparse.contracts.model import Model, save_model
from osparse.formula.head import Head
from osparse.formula.lexicon import Lexicon, read_vocabulary

if TYPE_CHECKING:
    from osparse.encoders.lexical_table import LexicalTable

RECORDS = [
    ("pear", "배 키우기", "배나무는 봄에 하얀 꽃이 피고 가을에 열매를 딴다.", "growing pears", "A pear tree flowers white in spring and is picked in autumn."),
    ("bread", "빵 굽기", "밀가루와 물과 소금을 섞어 반죽하고 오븐에서 굽는다.", "baking bread", "Flour, water and salt are kneaded into dough and baked in an oven."),
    ("rain", "비와 구름", "구름이 차가운 공기를 만나면 물방울이 모여 비가 된다.", "rain and clouds", "When a cloud meets cold air its drops gather and fall as rain."),
    ("tram", "전차 노선", "전차는 도시의 역과 항구를 잇는 노선을 달린다. ver. 2.0", "tram lines", "Trams run on lines that join the city station and the harbour. ver. 2.0"),
    ("moon", "달의 위상", "달은 한 달 동안 모양이 바뀌며 태양빛을 반사한다.", "phases of the moon", "The moon changes its shape over a month and reflects sunlight."),
    ("bees", "꿀벌의 춤", "꿀벌은 춤으로 꽃이 있는 방향과 거리를 알린다.", "dance of the bees", "Bees dance to tell the direction and distance of flowers."),
    ("tide", "밀물과 썰물", "달의 인력이 바닷물을 끌어 밀물과 썰물이 생긴다.", "tides of the sea", "The pull of the moon draws sea water and makes the tides."),
    ("clay", "도자기 만들기", "흙을 빚어 말리고 가마에서 높은 온도로 굽는다.", "making pottery", "Clay is shaped, dried and fired in a kiln at high heat."),
]  # fmt: skip
"""(group, ko title, ko text, en title, en text); written for these tests."""

ODD_TEXTS = ["", " ", "한국어 english 섞인 text 2.0", "🍐🍞 emoji", "한글", "the the the the", "빵 " * 2000]
"""Empty, blank, mixed, emoji, NFD Hangul, repeated, and 2,000 tokens."""
VOCABULARY = 400
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def make_tokenizer(path: Path) -> Path:
    """A WordPiece tokenizer.json made of :data:`RECORDS`: their characters, every other word, some pairs of letters."""
    normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    splitter = pre_tokenizers.BertPreTokenizer()
    texts = [normalizer.normalize_str(text) for record in RECORDS for text in record[1:]]
    words = sorted({word for text in texts for word, _ in splitter.pre_tokenize_str(text)})
    letters = sorted(set("".join(words)))
    pieces = sorted({f"##{word[i : i + 2]}" for word in words for i in range(1, len(word) - 1)})
    tokens = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *(w for w in words[1::2] if len(w) > 1)]
    tokens += pieces[: VOCABULARY - len(tokens)]
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    pair = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=pair
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return path


def make_dataset(path: Path) -> Dataset:
    """Eight aligned records: five to train on, one to validate, two to test."""
    documents, queries = [], []
    qrels: dict[str, list[tuple[str, str, float, str]]] = {"train": [], "validation": [], "test": []}
    for number, (group, *texts) in enumerate(RECORDS):
        split = "test" if number >= 6 else "validation" if number == 5 else "train"
        for lang, title, text in (("ko", *texts[:2]), ("en", *texts[2:])):
            documents.append((f"{group}:{lang}", "", text, lang, None, "world", group))
            queries.append((f"q:{group}:{lang}", title, lang, None))
        for lang in ("ko", "en"):
            qrels[split] += [(f"q:{group}:{lang}", f"{group}:{other}", 1.0, "annotated") for other in ("ko", "en")]
    names = ["query_id", "document_id", "score", "origin"]
    return save_dataset(
        path,
        documents=pl.DataFrame(
            documents, schema=["id", "title", "text", "lang", "date", "source", "group"], orient="row"
        ),
        queries=pl.DataFrame(queries, schema=["id", "text", "lang", "date"], orient="row"),
        qrels={split: pl.DataFrame(rows, schema=names, orient="row") for split, rows in qrels.items()},
        sources=[Source("world", "Apache-2.0", len(documents), len(documents), {}, "0" * 64)],
        split_rule="by position in tests/world.py",
        seed=0,
    )


def make_lexicon(tokenizer: Path) -> Lexicon:
    """Weights that differ from token to token: 0.5 + (id mod 97) / 10."""
    tokens, special = read_vocabulary(tokenizer)
    return Lexicon.build(tokens, special, {t: 0.5 + (i % 97) / 10 for i, t in enumerate(tokens)})


def make_table(rows: int) -> LexicalTable:
    """Each id itself with 0.3, the three after it with 1.0, 0.5 and nothing."""
    import torch

    from osparse.encoders.lexical_table import LexicalTable

    targets = (torch.arange(rows)[:, None] + torch.arange(4)) % rows
    return LexicalTable(targets, torch.tensor([0.3, 1.0, 0.5, 0.0]).repeat(rows, 1), k1=1.2, b=0.75, average=20.0)


def make_model(
    path: Path, *, head: Head | None = None, extra_rows: int = 0, seed: int = 0, tokenizer: Path | None = None,
    lexical: bool = False,
) -> Model:  # fmt: skip
    """A random two-layer BERT whose documents have some, not all, weights; ``extra_rows`` widen the decoder.

    ``tokenizer`` is a tokenizer.json with the tokens of :data:`SPECIAL`; None makes :func:`make_tokenizer`'s. With
    ``lexical`` the model has a lexical table.
    """
    import torch
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer_path = tokenizer or make_tokenizer(path.parent / f"{path.name}-tokenizer" / "tokenizer.json")
    lexicon = make_lexicon(tokenizer_path)
    torch.manual_seed(seed)
    rows = len(lexicon.tokens) + extra_rows
    config = BertConfig(
        vocab_size=rows, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    mlm = BertForMaskedLM(config)
    with torch.no_grad():
        mlm.cls.predictions.decoder.weight.mul_(40)
        mlm.cls.predictions.decoder.bias.uniform_(-6, -2.5)  # some of the vocabulary stays zero, whatever the tokenizer
    masked = (*lexicon.special_ids, *range(len(lexicon.tokens), rows))

    def write_weights(folder: Path) -> None:
        mlm.save_pretrained(folder)
        if lexical:
            make_table(rows).write(folder)
        fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_file=str(tokenizer_path), unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]",
            sep_token="[SEP]", mask_token="[MASK]",
        )  # fmt: skip
        fast.save_pretrained(folder)

    return save_model(
        path,
        write_weights=write_weights,
        lexicon=lexicon,
        head=head or Head(max_length=64, masked_ids=masked),
        idf={"corpus": "tests"},
        training={"fingerprint": f"tests-{seed}"},
        metrics={},
        card="# A random model for tests\n",
    )
