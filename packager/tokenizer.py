"""The packaged tokenizer.json: every id decodes to its own raw token, and truncation is written down.

The server keys a document's weights, and looks a query's up, by the *decoded string of a single id*. With a decoder
byte-level BPE and SentencePiece tokens run into each other ("▁the" and "the" share one key); without one each id
decodes to its raw vocabulary string. A null truncation would be 512 on the server whatever the model was trained at.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer

from osparse.encoding import SERVER_MAX_TOKENS
from osparse.errors import BundleError, ModelError
from osparse.files import read_json


def packaged_tokenizer(path: Path, max_length: int) -> bytes:
    """tokenizer.json as it goes into the zips; raises :class:`BundleError` if two ids would share a key."""
    raw = read_json(path, ModelError)
    if not isinstance(raw, dict) or "model" not in raw:
        raise ModelError(f"{path} is not a fast tokenizer's tokenizer.json; save one with transformers' fast tokenizer")
    raw["decoder"] = None
    raw["padding"] = None
    raw["truncation"] = {
        "max_length": min(max_length, SERVER_MAX_TOKENS),
        "strategy": "LongestFirst",
        "stride": 0,
        "direction": "Right",
    }
    data = json.dumps(raw, ensure_ascii=False, separators=(",", ":")).encode()
    problems = lossy(load(data, str(path)))
    if problems:
        raise BundleError(
            f"{path}: {len(problems)} tokens would be lost on the server, which knows a token by its decoded string: "
            f"{'; '.join(problems[:3])}; remove or rename them in the tokenizer"
        )
    return data


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


def _differences(wanted: Iterable[tuple[int, str]], decoded: Iterable[str]) -> Iterable[str]:
    seen: dict[str, int] = {}
    for (i, token), found in zip(wanted, decoded, strict=True):
        if found != token or not token:
            yield f"id {i} {token!r} decodes to {found!r}"
        elif found in seen:
            yield f"ids {seen[found]} and {i} both decode to {found!r}"
        seen[found] = i
