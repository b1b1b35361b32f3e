"""The packaged tokenizer.json: every id decodes to its own raw token, and truncation is written down.

The server keys a document's weights, and looks a query's up, by the *decoded string of a single id*. With a decoder
byte-level BPE and SentencePiece tokens run into each other ("▁the" and "the" share one key); without one each id
decodes to its raw vocabulary string. A null truncation would be 512 on the server whatever the model was trained at.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from osparse.errors import BundleError, ModelError
from osparse.formula.head import SERVER_MAX_TOKENS
from osparse.io.files import read_json

PARTS = ("normalizer", "pre_tokenizer", "post_processor", "model")
INNER = ("normalizers", "pretokenizers", "processors")
"""Where a Sequence keeps its components."""
KNOWN: dict[str, frozenset[str]] = {
    "normalizer": frozenset(
        "BertNormalizer ByteLevel Lowercase NFC NFD NFKC NFKD Nmt Precompiled Prepend Replace Sequence Strip "
        "StripAccents".split()
    ),
    "pre_tokenizer": frozenset(
        "BertPreTokenizer ByteLevel CharDelimiterSplit Digits Metaspace Punctuation Sequence Split UnicodeScripts "
        "Whitespace WhitespaceSplit".split()
    ),
    "post_processor": frozenset("BertProcessing ByteLevel RobertaProcessing Sequence TemplateProcessing".split()),
    "model": frozenset("BPE Unigram WordLevel WordPiece".split()),
}
"""Component types of tokenizers 0.20.3; 0.19.1 has all of them but the ByteLevel normalizer."""


def packaged_tokenizer(path: Path, max_length: int) -> bytes:
    """tokenizer.json as it goes into the encoders' zips: no decoder, no padding, cut at ``max_length``.

    Raises:
        ModelError: it is not a fast tokenizer's file.
        BundleError: two ids would share a key on the server.
    """
    return packaged(read_json(path, ModelError), max_length, path)


def packaged(raw: Any, max_length: int, path: Path) -> bytes:
    """The same of what was read from ``path``, which errors name; raises as :func:`packaged_tokenizer` does."""
    if not isinstance(raw, dict) or not isinstance(raw.get("model"), dict):
        raise ModelError(
            f"{path} is not a fast tokenizer's tokenizer.json (it has no model); make one with: python -c \"from "
            "transformers import AutoTokenizer as T; T.from_pretrained('FOLDER').save_pretrained('FOLDER')\""
        )
    raw["decoder"] = None
    raw["padding"] = None
    raw["model"] |= _portable_merges(raw["model"])
    data = truncated(_dump(raw), max_length)
    problems = lossy(load(data, str(path)))
    if problems:
        raise BundleError(
            f"{path}: {len(problems)} tokens would be lost on the server, which knows a token by its decoded string: "
            f"{'; '.join(problems[:3])}; remove or rename them in the tokenizer"
        )
    return data


def truncated(data: bytes, max_length: int) -> bytes:
    """The same tokenizer.json, cutting every text to ``max_length`` ids, at most the server's 512."""
    raw = json.loads(data)
    raw["truncation"] = {
        "max_length": min(max_length, SERVER_MAX_TOKENS),
        "strategy": "LongestFirst",
        "stride": 0,
        "direction": "Right",
    }
    return _dump(raw)


def unreadable(data: bytes, version: str) -> list[str]:
    """Why tokenizers ``version`` (0.19.1, 0.20.3) would not read the file, in words; [] if nothing is known."""
    raw = json.loads(data)
    problems = []
    for part in PARTS:
        new = sorted(set(_types(raw.get(part))) - KNOWN[part])
        if version == "0.19.1" and part == "normalizer" and "ByteLevel" in _types(raw.get(part)):
            new.append("ByteLevel")
        problems += [f"tokenizers {version} has no {part} {name}" for name in new]
    merges = raw["model"].get("merges") or []
    if version == "0.19.1" and merges and not isinstance(merges[0], str):
        problems.append("tokenizers 0.19.1 reads merges as strings, and a token of these holds a space")
    return problems


def _portable_merges(model: Mapping[str, Any]) -> dict[str, Any]:
    """A BPE's merges as "a b", which every version reads; since 0.20 they are written as pairs."""
    merges = model.get("merges")
    if not isinstance(merges, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in merges):
        return {}
    if any(" " in piece for pair in merges for piece in pair):
        return {}
    return {"merges": [" ".join(pair) for pair in merges]}


def _types(part: Any) -> list[str]:
    """``type`` of a component and of all within it."""
    if isinstance(part, list):
        return [name for item in part for name in _types(item)]
    if not isinstance(part, dict):
        return []
    inner = [name for key, value in part.items() if key in INNER for name in _types(value)]
    return [*([part["type"]] if isinstance(part.get("type"), str) else []), *inner]


def _dump(raw: Any) -> bytes:
    return json.dumps(raw, ensure_ascii=False, separators=(",", ":")).encode()


def load(data: bytes, source: str) -> Tokenizer:
    """A tokenizer from tokenizer.json's bytes, with its own truncation; raises :class:`BundleError`."""
    try:
        return Tokenizer.from_str(data.decode())
    except Exception as problem:  # noqa: BLE001 - tokenizers raises bare Exception
        raise BundleError(f"{source} is not a tokenizer.json: {problem}") from None


def lossy(tokenizer: Tokenizer) -> list[str]:
    """Each non-special id that does not decode, alone, to its own raw token, said in words; [] if none."""
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    vocabulary = sorted((i, token) for token, i in tokenizer.get_vocab(with_added_tokens=True).items())
    ids = [i for i, _ in vocabulary if i not in special]
    decoded = tokenizer.decode_batch([[i] for i in ids], skip_special_tokens=True)
    return list(_differences(((i, token) for i, token in vocabulary if i not in special), decoded))


def _differences(vocabulary: Iterable[tuple[int, str]], decoded: Iterable[str]) -> Iterable[str]:
    seen: dict[str, int] = {}
    for (i, token), string in zip(vocabulary, decoded, strict=True):
        if string != token or not token:
            yield f"id {i} {token!r} decodes to {string!r}"
        elif string in seen:
            yield f"ids {seen[string]} and {i} both decode to {string!r}"
        seen[string] = i
