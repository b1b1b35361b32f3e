"""tokenizer.json with fewer tokens: its subword model, added tokens and post-processor under new ids."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tokenizers import Tokenizer

from osparse.errors import ModelError
from osparse.formula.lexicon import vocabulary_of
from osparse.packager.vocabulary.subword.ids import deal_ids
from osparse.packager.vocabulary.subword.models import Subwords, subwords_of


class TokenizerFile:
    """A parsed tokenizer.json whose vocabulary can be trimmed."""

    def __init__(self, content: bytes, source: str) -> None:
        """Raises :class:`InputError` for a tokenizer model that cannot be trimmed."""
        self.source = source
        self._raw: dict[str, Any] = json.loads(content)
        self.subwords: Subwords = subwords_of(self._raw, source)

    @property
    def is_byte_level(self) -> bool:
        """Whether tokens are bytes written as characters."""
        return any('"ByteLevel"' in json.dumps(self._raw.get(part)) for part in ("normalizer", "pre_tokenizer"))

    def special(self) -> set[str]:
        """Added tokens, and tokens that the post-processor puts around a text (a document prompt among them)."""
        names = {i: token for token, i in self.subwords.ids.items()} | self._added()
        return {names[i] for i in {*self._added(), *_processor_ids(self._raw.get("post_processor"))} if i in names}

    def ids(self, tokens: Collection[str]) -> dict[int, int]:
        """Old id -> new id of ``tokens``."""
        own = {i for token, i in self.subwords.ids.items() if token in tokens}
        return deal_ids(own, [i for i, token in self._added().items() if token in tokens and i not in own])

    def trimmed(self, ids: Mapping[int, int]) -> bytes:
        """tokenizer.json with the tokens of ``ids``, old -> new.

        Raises:
            ModelError: the library does not give the tokens these ids, or one that is needed is not among them.
        """
        own = {token: ids[i] for token, i in self.subwords.ids.items() if i in ids}
        try:
            raw = {
                **self._raw,
                "model": self.subwords.trimmed(own),
                "added_tokens": [{**row, "id": ids[row["id"]]} for row in self._raw.get("added_tokens") or []],
                "post_processor": _renumbered(self._raw.get("post_processor"), ids),
            }
        except KeyError as problem:
            raise ModelError(f"{self.source}: the tokenizer cannot do without {problem}, which was to go") from None
        raw["added_tokens"].sort(key=lambda row: row["id"])
        content = json.dumps(raw, ensure_ascii=False, separators=(",", ":")).encode()
        self._require_ids(content, ids)
        return content

    def _added(self) -> dict[int, str]:
        return {row["id"]: row["content"] for row in self._raw.get("added_tokens") or []}

    def _require_ids(self, content: bytes, ids: Mapping[int, int]) -> None:
        names = {i: token for token, i in self.subwords.ids.items()} | self._added()
        try:
            tokens, _ = vocabulary_of(Tokenizer.from_str(content.decode()))
        except Exception as problem:  # noqa: BLE001 - tokenizers raises bare Exception
            raise ModelError(f"{self.source} cannot be read any more once it is trimmed: {problem}") from None
        wrong = [names[old] for old, new in ids.items() if new >= len(tokens) or tokens[new] != names[old]]
        if wrong or len(tokens) != len(ids):
            raise ModelError(
                f"{self.source} cannot be trimmed: the tokenizers library gives {len(wrong)} tokens (like {wrong[:3]}) "
                "other ids than they were dealt; leave `vocabulary` out"
            )


def _processor_ids(part: Any) -> Iterator[int]:
    """Ids that a post-processor names."""
    if not isinstance(part, dict):
        return
    for inner in part.get("processors") or []:
        yield from _processor_ids(inner)
    for pair in (part.get("sep"), part.get("cls")):
        if isinstance(pair, list):
            yield int(pair[1])
    for token in (part.get("special_tokens") or {}).values():
        yield from token["ids"]


def _renumbered(part: Any, ids: Mapping[int, int]) -> Any:
    """The post-processor under new ids: Sequence, BertProcessing, RobertaProcessing and TemplateProcessing."""
    if not isinstance(part, dict):
        return part
    part = dict(part)
    if "processors" in part:
        part["processors"] = [_renumbered(inner, ids) for inner in part["processors"]]
    for end in ("sep", "cls"):
        if isinstance(part.get(end), list):
            token, i = part[end]
            part[end] = [token, ids[i]]
    if "special_tokens" in part:
        tokens = part["special_tokens"].items()
        part["special_tokens"] = {name: {**row, "ids": [ids[i] for i in row["ids"]]} for name, row in tokens}
    return part
