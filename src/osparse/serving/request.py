"""A request to ``/encode``: its body read up to a limit, its texts and the form that it asks for.

The body is what a connector's template makes: {"texts": ["..."], "sparse_embedding_format": "WORD" or "TOKEN_ID"}.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from osparse.serving.vectors import Format

THROTTLED = {"x-amzn-ErrorType": "ThrottlingException", "Retry-After": "1"}
"""Headers of a refusal that passes. ML Commons sends a request again only for the first one, whatever the status."""


class RefusedError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, dict(headers or {})


@dataclass(frozen=True)
class EncodeRequest:
    texts: list[str]
    form: Format


def check_token(header: str | None, token: str | None) -> None:
    """Raises :class:`RefusedError` (401) unless the Authorization header carries the token, if there is one."""
    given = (header or "").encode("utf-8", "replace")
    if token is not None and not hmac.compare_digest(given, f"Bearer {token}".encode()):
        raise RefusedError(401, "the bearer token is missing or wrong", {"WWW-Authenticate": "Bearer"})


async def read_body(stream: AsyncIterator[bytes], announced: str | None, limit: int) -> bytes:
    """The whole body; raises :class:`RefusedError` (413) as soon as it is known to be longer than ``limit`` bytes."""
    too_long = RefusedError(
        413, f"the body must be at most {limit} bytes; send fewer or shorter texts", {"Connection": "close"}
    )
    if announced is not None and announced.isdecimal() and int(announced) > limit:
        raise too_long
    body = bytearray()
    async for piece in stream:
        body += piece
        if len(body) > limit:
            raise too_long
    return bytes(body)


def parse(body: bytes) -> EncodeRequest:
    """Raises :class:`RefusedError` (400) without a word of the texts."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(400, "the body is not JSON") from None
    texts = value.get("texts") if isinstance(value, dict) else None
    if not isinstance(texts, list):
        raise RefusedError(400, 'the body must be {"texts": ["...", ...], "sparse_embedding_format": "WORD"}')
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise RefusedError(400, f"texts[{number}] must be a string, got {type(text).__name__}")
    return EncodeRequest(texts, _form(value.get("sparse_embedding_format")))


def _form(asked: object) -> Format:
    """WORD where nothing is asked: ML Commons sends the parameter for sparse_vector fields only."""
    if asked is None or (isinstance(asked, str) and asked.upper() in ("WORD", "")):
        return "WORD"
    if isinstance(asked, str) and asked.upper() == "TOKEN_ID":
        return "TOKEN_ID"
    raise RefusedError(400, f"sparse_embedding_format must be WORD or TOKEN_ID, got {json.dumps(asked)[:40]}")
