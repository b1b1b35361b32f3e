"""The published sparse encoders at full size, with random weights: what packaging takes, and what a server will need.

    python benchmarks/published_shapes.py [doc-v2-mini doc-v3-gte ...] [--verify djl] [--keep]

Layers, widths, vocabularies and activations are those that the models' public descriptions state. Nothing of a model is
fetched: weights are random and the tokenizer is a WordPiece of that many made-up words. Each shape is made in one child
process and packaged in another by `osparse package`, on one thread, all formats. Prints a row for each: processor time
(wall time depends on what else runs), the most memory that the packaging process had resident, sizes of the zips, the
manifest's estimate of a server's memory, and the largest difference that parity found.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import string
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import peers

from osparse.contracts.bundle import Bundle

BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
SMALL = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
DISTILBERT = {"dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072, "vocab_size": 30522}
GTE = {
    "max_position_embeddings": 8192, "type_vocab_size": 0, "rope_theta": 500000, "pad_token_id": 0,
    "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
ROBERTA = {"max_position_embeddings": 514, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
L0, SPLADE = "log1p_log1p_relu", "log1p_relu"
SHAPES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "doc-v2-mini": ("bert", SPLADE, {**SMALL, "vocab_size": 30522}),
    "granite-30m-sparse": ("roberta", SPLADE, {**SMALL, **ROBERTA, "vocab_size": 50265, "type_vocab_size": 2}),
    "doc-v2-distill": ("distilbert", SPLADE, DISTILBERT),
    "doc-v3-distill": ("distilbert", L0, DISTILBERT),
    "klue/roberta-small": (
        "roberta", SPLADE, {**BASE, **ROBERTA, "num_hidden_layers": 6, "vocab_size": 32000, "type_vocab_size": 1}
    ),
    "SPLADE-v3": ("bert", SPLADE, {**BASE, "vocab_size": 30522}),
    "klue/bert-base": ("bert", SPLADE, {**BASE, "vocab_size": 32000}),
    "klue/roberta-base": ("roberta", SPLADE, {**BASE, **ROBERTA, "vocab_size": 32000, "type_vocab_size": 1}),
    "doc-v1": ("bert", SPLADE, {**BASE, "vocab_size": 30522, "tie_word_embeddings": False}),
    "doc-v3-gte": ("new", L0, {**BASE, **GTE, "vocab_size": 30522}),
    "multilingual-v1": ("bert", SPLADE, {**BASE, "vocab_size": 105879}),
}  # fmt: skip
"""Name -> model_type, activation, what of the configuration is not transformers' default. doc-v1 has 133 million
parameters, which is BERT-base with a decoder of its own."""
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SPREAD = 3.0
"""Standard deviations of a logit that are taken off every output bias: few terms of a text stay above zero."""


def words(count: int, special: tuple[str, ...]) -> list[str]:
    """``count`` tokens: the special ones, characters of the probes and their continuations, words of five letters."""
    from osparse.packager.compare.probes import TEXTS

    letters = sorted({*string.ascii_lowercase, *(c for _, text in TEXTS for c in text.lower() if not c.isspace())})
    made = map("".join, itertools.product(string.ascii_lowercase, repeat=5))
    return list(itertools.islice(itertools.chain(special, letters, (f"##{c}" for c in letters), made), count))


def make(name: str, folder: Path) -> None:
    """A folder as such models are published: config.json, model.safetensors, the tokenizer's two files, idf.json."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import AutoConfig, AutoModelForMaskedLM

    from osparse.masked_lm.architectures import find

    kind, _, shape = SHAPES[name]
    find(kind)
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **shape)
    mlm = AutoModelForMaskedLM.from_config(config)
    decoder = mlm.get_output_embeddings()
    with torch.no_grad():
        decoder.bias.fill_(-SPREAD * float(decoder.weight.std()) * decoder.weight.shape[1] ** 0.5)
    mlm.save_pretrained(folder)
    pad = config.pad_token_id
    tokens = words(config.vocab_size, (*SPECIAL[1 : pad + 1], SPECIAL[0], *SPECIAL[pad + 1 :]))
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    pair = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=pair)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    # Without it transformers takes the tokenizer of the model_type, and RoBERTa's adds its own special tokens.
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **named}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    idf = {token: 1.0 + i % 97 / 10 for i, token in enumerate(tokens) if token not in SPECIAL}
    (folder / "idf.json").write_text(json.dumps(idf), encoding="utf-8")


def child(command: list[str]) -> dict[str, float]:
    """Run it: wall and processor seconds, and the most bytes it had resident."""
    code = (
        "import json, resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr); "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(json.dumps({'cpu': used.ru_utime + used.ru_stime, 'peak': used.ru_maxrss * 1024}))"
    )
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *command], check=True, stdout=subprocess.PIPE, text=True, env=peers.environment(1)
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {**figures, "wall": time.perf_counter() - begun}


def parameters(weights: Path) -> int:
    """Numbers in a safetensors file, by its header; a matrix that is tied is there once."""
    with weights.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    sizes = [tensor["data_offsets"] for name, tensor in header.items() if name != "__metadata__"]
    return sum(end - start for start, end in sizes) // 4


def row(name: str, work: Path, runtime: str | None) -> str:
    """Make the shape, package it, and say what that took."""
    kind, activation, _ = SHAPES[name]
    folder, output = work / "model", work / "bundle"
    child([sys.executable, __file__, "--make", name, "--work", str(folder)])
    osparse = [sys.executable, "-m", "osparse", "--quiet"]
    took = child([*osparse, "package", str(folder), "--output", str(output), "--activation", activation])
    if runtime:
        child([*osparse, "verify", str(output), "--runtime", runtime])
    bundle = Bundle.open(output)
    memory = bundle.fit["server_memory_bytes"]
    sizes = [f"{bundle.files[part].size / 1e6:,.0f}" for part in ("torchscript", "onnx", "tokenizer")]
    largest = max(entry["largest_difference_below"] for entry in bundle.checks["parity"].values())
    cells = [
        name, kind, f"{parameters(folder / 'model.safetensors') / 1e6:.1f} M",
        f"{bundle.vocabulary:,}", f"{took['cpu']:.0f} s", f"{took['wall']:.0f} s", f"{took['peak'] / 1e9:.1f} GB",
        " / ".join(sizes) + " MB", " / ".join(f"{memory[form] / 1e9:.1f}" for form in bundle.formats) + " GB",
        f"{largest:.0e}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SHAPES)}; all if none is given")
    parser.add_argument("--verify", metavar="RUNTIME", help="also run osparse verify in this runtime: djl")
    parser.add_argument("--work", type=Path, default=Path("build/bench/shapes"), help="a folder that is emptied")
    parser.add_argument("--keep", action="store_true", help="leave the last model and bundle there")
    parser.add_argument("--make", metavar="NAME", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        return make(given.make, given.work)
    unknown = [name for name in given.names if name not in SHAPES]
    if unknown:
        parser.error(f"{', '.join(unknown)}: choose from {', '.join(SHAPES)}")
    print("| shape | model_type | parameters | tokens | processor time | wall time | peak memory | zips: TorchScript / "
          "ONNX / tokenizer | server memory, estimated | parity below |")  # fmt: skip
    print("|" + "---|" * 10, flush=True)
    for name in given.names or SHAPES:
        shutil.rmtree(given.work, ignore_errors=True)
        given.work.mkdir(parents=True)
        print(row(name, given.work, given.verify), flush=True)
    if not given.keep:
        shutil.rmtree(given.work)


if __name__ == "__main__":
    main()
