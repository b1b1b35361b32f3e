"""Small sparse models with random weights, saved to a folder by sentence-transformers and transformers themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling
from tokenizers import Tokenizer, models
from tokenizers.pre_tokenizers import ByteLevel, Metaspace
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertTokenizer,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LATIN = "abcdefghijklmnopqrstuvwxyz"
WORDS = (
    *LATIN, *(f"##{letter}" for letter in LATIN), *LATIN.upper(), *(f"##{letter}" for letter in LATIN.upper()),
    *"éüñçßéÉÜ", *"αβγδσςωΑΒΣ", *"абвгджяАБВ", *"가나다라마바사", *"日本語漢字", *"あいうカキ", *"0123456789", *".,;:!?-_()/+#@&%",
    "the", "The", "ferry", "Ferry", "island", "pear", "passage", "query", "night", "harbour", "배나무", "물", "market", "##ing", "##s",
)  # fmt: skip
Edit = Callable[[dict[str, Any]], object]


def bert(folder: Path, *, lower: bool = False, positions: int = 64, **tokenizer: Any) -> Path:
    """A one-layer BERT with a WordPiece tokenizer, as transformers saves them."""
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys((*SPECIAL, *WORDS)))}
    mlm = _masked_lm("bert", len(vocabulary), positions)
    with torch.no_grad():
        mlm.cls.predictions.decoder.weight.mul_(40)
        mlm.cls.predictions.decoder.bias.uniform_(-6, -1)
        mlm.cls.predictions.decoder.bias[: len(SPECIAL)] = 3  # they are among a text's largest weights
    mlm.save_pretrained(folder)
    BertTokenizer(vocab=vocabulary, do_lower_case=lower, **tokenizer).save_pretrained(folder)
    return folder


def roberta(folder: Path, kind: str = "roberta", **tokenizer: Any) -> Path:
    """A one-layer RoBERTa, or one of its kind, with a byte-level tokenizer; 40 of its 42 positions can be used."""
    special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    pieces = sorted(ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate((*special, *pieces, "Ġt", "Ġth", "Ġthe", "in"))}
    merges: Any = [("Ġ", "t"), ("Ġt", "h"), ("Ġth", "e"), ("i", "n")]
    _save_roberta(folder, kind, RobertaTokenizer(vocab=vocabulary, merges=merges, **tokenizer))
    return folder


def xlm_roberta(folder: Path, **tokenizer: Any) -> Path:
    """The same with SentencePiece's tokens."""
    special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    letters = (*LATIN, *"ABCéü가나다물日本語0123.,!")
    pieces: Any = [*special, ("▁", -2.0), ("▁the", -3.0), ("ferry", -3.5), *((letter, -5.0) for letter in letters)]
    _save_roberta(folder, "xlm-roberta", XLMRobertaTokenizer(vocab=pieces, **tokenizer))
    return folder


def unigram_of_bytes(folder: Path) -> Path:
    """The same with a token for each byte, which unknown characters become."""
    special = ("<s>", "<pad>", "</s>", "<unk>")
    letters = (("▁", -2.0), ("▁the", -3.0), ("ferry", -3.5), *((letter, -5.0) for letter in LATIN))
    pieces = [*((t, 0.0) for t in special), *((f"<0x{byte:02X}>", -8.0) for byte in range(256)), *letters]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=True))
    tokenizer.pre_tokenizer = Metaspace()
    tokenizer.add_special_tokens(list(special))
    ends = [("<s>", 0), ("</s>", 2)]
    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    names = {"cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)  # type: ignore[no-untyped-call]  # not annotated
    _save_roberta(folder, "xlm-roberta", fast)
    return folder


def _save_roberta(folder: Path, kind: str, tokenizer: Any) -> None:
    mlm = _masked_lm(kind, len(tokenizer), 42)
    with torch.no_grad():
        mlm.lm_head.decoder.weight.mul_(40)
        mlm.lm_head.bias.uniform_(-6, -1)
    mlm.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _masked_lm(kind: str, rows: int, positions: int) -> Any:
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    config = AutoConfig.for_model(kind, vocab_size=rows, max_position_embeddings=positions, **size)
    return AutoModelForMaskedLM.from_config(config)  # type: ignore[no-untyped-call]  # transformers is not annotated


def transformer(base: Path, **settings: Any) -> Any:
    return Transformer(str(base), transformer_task="fill-mask", **settings)


def symmetric(
    base: Path, folder: Path, *, activation: str = "relu", pooling: str = "max", model: dict[str, Any] | None = None,
    after: Sequence[Any] = (), **settings: Any,
) -> Path:  # fmt: skip
    """A SPLADE model, saved; its query weights are an idf.json beside it."""
    modules: list[Any] = [transformer(base, **settings), SpladePooling(pooling, activation), *after]  # type: ignore[arg-type]  # a test names a kind by its text
    SparseEncoder(modules=modules, device="cpu", **(model or {})).save_pretrained(str(folder), create_model_card=False)
    write_idf(folder, modules[0].tokenizer)
    return folder


def routed(
    base: Path, folder: Path, *, queries: Path | None = None, query_length: int | None = None,
    model: dict[str, Any] | None = None, mappings: dict[Any, str] | None = None, names: tuple[str, str] = ("query",
    "document"), weights: Callable[[torch.Tensor], torch.Tensor] | None = None, default: str | None = None, **settings: Any,
) -> Path:  # fmt: skip
    """An inference-free model, saved: documents by a transformer, queries by a SparseStaticEmbedding."""
    tokenizer = BertTokenizer.from_pretrained(queries or base)
    if query_length is not None:
        tokenizer.model_max_length = query_length
    torch.manual_seed(1)
    drawn = torch.rand(len(tokenizer)) + 0.1
    static = SparseStaticEmbedding(tokenizer, weights(drawn) if weights else drawn)
    routes: Any = {names[0]: [static], names[1]: [transformer(base, **settings), SpladePooling("max")]}
    router = Router(routes, default_route=default or names[1], route_mappings=mappings)
    SparseEncoder(modules=[router], device="cpu", **(model or {})).save_pretrained(str(folder), create_model_card=False)
    return folder


def two_encoders(base: Path, folder: Path) -> Path:
    """A model whose queries have a transformer too."""
    sides: Any = {side: [transformer(base), SpladePooling("max")] for side in ("query", "document")}
    router = Router(sides, default_route="document")
    SparseEncoder(modules=[router], device="cpu").save_pretrained(str(folder), create_model_card=False)
    return folder


def write_idf(folder: Path, tokenizer: Any) -> None:
    weights = {token: 0.5 + (i % 7) for token, i in tokenizer.get_vocab().items()}
    (folder / "idf.json").write_text(json.dumps(weights), encoding="utf-8")


def plain(base: Path) -> Path:
    """A Hugging Face folder with an idf.json."""
    write_idf(base, AutoTokenizer.from_pretrained(base))
    return base


def edit(path: Path, change: Edit) -> None:
    """Change the settings of a saved file."""
    raw = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    change(raw)
    path.write_text(json.dumps(raw), encoding="utf-8")
