"""A prompt before every document, written into tokenizer.json as ids that go before a text's own.

That is exact where the tokenizer splits at white space before anything else, and the prompt ends in white space: then
no token reaches from the prompt into the text.
"""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer

from osparse.errors import ModelError

_NAME = "document prompt"
"""Name of the prompt in the template."""


def with_document_prompt(content: str, prompt: str, source: str) -> str:
    """tokenizer.json whose texts begin with the ids of ``prompt``.

    Raises:
        ModelError: the prompt and a text may share a token, so it cannot be written down exactly.
    """
    raw = json.loads(content)
    problem = _problem(raw, prompt)
    if problem:
        raise ModelError(
            f"{source}: prompts: the document prompt {prompt!r} cannot be obeyed exactly, since {problem}; package the "
            "model without it (set it to an empty text) and put it before each text that you index"
        )
    encoded = Tokenizer.from_str(content).encode(prompt, add_special_tokens=False)
    template = raw["post_processor"]
    place = next(n for n, part in enumerate(template["single"]) if "Sequence" in part)
    template["single"].insert(place, {"SpecialToken": {"id": _NAME, "type_id": 0}})
    template["special_tokens"][_NAME] = {"id": _NAME, "ids": encoded.ids, "tokens": encoded.tokens}
    return json.dumps(raw, ensure_ascii=False)


def _problem(raw: dict[str, Any], prompt: str) -> str | None:
    """Why the ids of prompt and text are not the ids of the prompt and then of the text, in words."""
    if not prompt[-1].isspace():
        return "it does not end in a space"
    if raw["model"].get("type") != "WordPiece" or _type(raw["pre_tokenizer"]) not in ("BertPreTokenizer", "Whitespace"):
        return "the tokenizer is no WordPiece that splits at white space first"
    if any(kind not in ("BertNormalizer", "Lowercase") for kind in _normalizers(raw["normalizer"])):
        return "its normalizer may join characters of the prompt and the text"
    if _type(raw["post_processor"]) != "TemplateProcessing":
        return "the tokenizer has no template of special tokens"
    return None


def _type(part: Any) -> str | None:
    return None if part is None else str(part.get("type"))


def _normalizers(part: Any) -> list[str]:
    if part is None:
        return []
    return [_type(inner) or "" for inner in part["normalizers"]] if _type(part) == "Sequence" else [_type(part) or ""]
