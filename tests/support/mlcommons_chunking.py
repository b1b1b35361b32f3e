"""How neural-search cuts a text into pieces with the standard tokenizer."""

from __future__ import annotations

import re

from mlcommons_index import Index
from mlcommons_refusals import Refused

MOST_TOKENS = 10_000
WORD = re.compile(r"\w+(?:['.\u2019:]\w+)*")
"""Near to the standard tokenizer: a mark between letters or digits does not end a word."""


def pieces(text: object, limit: int, most: int = MOST_TOKENS) -> list[str]:
    """Each from its first token to the next piece's; the first from the start of the text. No token, no piece."""
    if not isinstance(text, str):
        return []
    starts = [match.start() for match in WORD.finditer(text)]
    if len(starts) > most:
        cause = (
            f"The number of tokens produced by calling _analyze has exceeded the allowed maximum of [{most}]. This limit "
            "can be set by changing the [index.analyze.max_token_count] index level setting."
        )
        kind = "illegal_state_exception"
        raise Refused(500, kind, f"analyzer standard throws exception: {cause}", (kind, cause))
    cuts = [0, *starts[limit::limit], len(text)] if starts else []
    return [text[start:end] for start, end in zip(cuts, cuts[1:], strict=False)]


def most_tokens(index: Index | None, asked: str) -> int:
    """The index's own limit, which the server finds only under the index's own name."""
    if index is None or asked != index.name:
        return MOST_TOKENS
    return int(index.settings.get("analyze.max_token_count", MOST_TOKENS))
