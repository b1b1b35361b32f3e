"""Encode texts with a bundle's ONNX zip: tokenizers and ONNX Runtime, no torch. The deploy side's document encoder.

encoder = OnnxEncoder.open("build/bundle")
encoder.encode(["배나무는 봄에 하얀 꽃이 핀다"])   # [{"배": 1.21, ...}]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from osparse.contracts.bundle import Bundle
from osparse.contracts.zip_members import read_member
from osparse.encoders.kernels.signed_weights import has_vnni, signed
from osparse.encoders.onnx_nodes import INTEGER, operators
from osparse.encoders.onnx_session import Device, open_session, run_session
from osparse.errors import BundleError, ModelError
from osparse.formula.activation import sparse_dict
from osparse.formula.head import SERVER_MAX_TOKENS
from osparse.formula.lexicon import Lexicon, check_idf, parse_tokenizer, vocabulary_of
from osparse.formula.query_encoder import QueryEncoder
from osparse.io.files import parse_json

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

STEP = 8
"""Ids; the lengths that texts are padded to are this far apart."""


class OnnxEncoder:
    """Texts -> document vectors, as the served encoder gives them."""

    def __init__(
        self, session: InferenceSession, tokenizer: Tokenizer, tokens: tuple[str, ...], *, alone: bool = False
    ) -> None:
        """``tokenizer`` truncates by itself and does not pad; ``tokens`` are the raw tokens by id.

        ``alone`` runs each text by itself and without padding, as the server does.
        """
        self.tokens = tokens
        self._alone = alone
        self._session = session
        self._tokenizer = tokenizer

    @classmethod
    def open(cls, source: Bundle | Path | str, *, threads: int | None = None, device: Device = "cpu") -> OnnxEncoder:
        """Open a bundle directory, or an encoder.onnx.zip; ``threads`` defaults to every core this process may use.

        Raises:
            BundleError: a bundle without ONNX, or a zip that is unsafe, broken or not an encoder.
            InputError: ONNX Runtime cannot use the device.
        """
        archive = source if isinstance(source, Path | str) and Path(source).is_file() else None
        if archive is None:
            bundle = source if isinstance(source, Bundle) else Bundle.open(source)
            archive = bundle.zip_path("onnx")
        archive = Path(archive)
        tokenizer, tokens, _ = read_tokenizer(archive)
        model = read_member(archive, "model.onnx")
        return cls.of_graph(model, str(archive), tokenizer, tokens, threads=threads, device=device)

    @classmethod
    def of_graph(
        cls, model: bytes, source: str, tokenizer: Tokenizer, tokens: tuple[str, ...], *, threads: int | None = None,
        device: Device = "cpu",
    ) -> OnnxEncoder:  # fmt: skip
        """:meth:`open` with the content of a model.onnx; ``source`` names it in errors."""
        is_integer = bool(operators(model) & INTEGER)
        if is_integer and device == "cpu" and has_vnni():
            model = signed(model)
        return cls(open_session(model, source, threads, device), tokenizer, tokens, alone=is_integer)

    def encode(self, texts: Sequence[str], batch_size: int = 32) -> list[dict[str, float]]:
        """{raw token: weight} of each text, in the order given."""
        return in_order(self.batches(texts, batch_size), len(texts), self.tokens)

    def batches(self, texts: Sequence[str], batch_size: int = 32) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Yield (positions in ``texts``, (B, V) weights), longest texts first.

        A text is padded to the next multiple of :data:`STEP` whatever the others are, and meets only texts padded
        alike: with one thread its weights are the same to the last bit in any company. An int8 encoder has each text
        alone: all that it runs together shares one scale.
        """
        yield from self.batches_of_ids(self.token_ids(texts)[0], batch_size)

    def token_ids(self, texts: Sequence[str]) -> tuple[list[list[int]], list[bool]]:
        """The ids of each text, and whether the text was longer than the encoder reads and was cut."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [encoding.ids for encoding in encodings], [bool(encoding.overflowing) for encoding in encodings]

    def windows(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """The ids of the windows of each text, every one with the special tokens; a quarter of a window is shared."""
        limit = self._limit
        self._tokenizer.enable_truncation(limit, stride=limit // 4)
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [[encoding.ids, *(rest.ids for rest in encoding.overflowing)] for encoding in encodings]

    def batches_of_ids(
        self, rows_of_ids: Sequence[Sequence[int]], batch_size: int = 32
    ) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """:meth:`batches` of texts that are tokenized already."""
        batch_size = 1 if self._alone else batch_size
        widths = [self._width(len(ids)) for ids in rows_of_ids]
        order = sorted(range(len(rows_of_ids)), key=lambda i: (-len(rows_of_ids[i]), i))
        for width, alike in groupby(order, key=widths.__getitem__):
            group = list(alike)
            for start in range(0, len(group), batch_size):
                rows = group[start : start + batch_size]
                ids, mask = pad([rows_of_ids[i] for i in rows], width)
                yield rows, self.run(ids, mask)

    def _width(self, length: int) -> int:
        """Ids a text is padded to: a multiple of :data:`STEP`, or what the tokenizer cuts at."""
        if self._alone:
            return length
        return max(length, min(-(-length // STEP) * STEP, self._limit))

    @property
    def _limit(self) -> int:
        """Ids of the longest text."""
        limit: int = (self._tokenizer.truncation or {}).get("max_length", SERVER_MAX_TOKENS)
        return limit

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """(B, T), (B, T) -> (B, V); ids past the vocabulary are left out, as the server leaves them out."""
        weights = run_session(self._session, ids, mask)
        if weights.shape[1] < len(self.tokens):
            raise BundleError(
                f"the encoder gives {weights.shape[1]} weights, its tokenizer has {len(self.tokens)} tokens; they do "
                "not belong together; run: osparse package"
            )
        return weights[:, : len(self.tokens)]


def open_query_encoder(tokenizer_zip: Path | str) -> QueryEncoder:
    """The query encoder of a bundle's tokenizer.zip, truncating where its tokenizer.json says."""
    archive = Path(tokenizer_zip)
    tokenizer, _, length = read_tokenizer(archive)
    content = read_member(archive, "idf.json")
    try:
        weights = check_idf(parse_json(content, "idf.json", ModelError), "idf.json")
        lexicon = Lexicon.build(*vocabulary_of(tokenizer), weights, source="idf.json")
    except ModelError as problem:
        raise BundleError(f"{archive}: {problem}") from None
    tokenizer.no_truncation()
    return QueryEncoder(tokenizer, lexicon, max_length=length)


def read_tokenizer(archive: Path) -> tuple[Tokenizer, tuple[str, ...], int]:
    """A zip's tokenizer with its truncation and no padding, the raw token of each id, and the truncation length."""
    try:
        tokenizer = parse_tokenizer(read_member(archive, "tokenizer.json"), "tokenizer.json")
    except ModelError as problem:
        raise BundleError(f"{archive}: {problem}") from None
    length = min((tokenizer.truncation or {}).get("max_length", SERVER_MAX_TOKENS), SERVER_MAX_TOKENS)
    tokenizer.enable_truncation(length)
    tokenizer.no_padding()
    return tokenizer, vocabulary_of(tokenizer)[0], length


def in_order(
    batches: Iterable[tuple[list[int], NDArray[np.float32]]], count: int, tokens: Sequence[str]
) -> list[dict[str, float]]:
    """{raw token: weight} of each of ``count`` texts; ``batches``: (positions of texts, (B, V) weights)."""
    vectors: list[dict[str, float]] = [{} for _ in range(count)]
    for rows, weights in batches:
        for row, vector in zip(rows, weights, strict=True):
            vectors[row] = sparse_dict(vector, tokens)
    return vectors


def pad(rows: Sequence[Sequence[int]], width: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids of several texts -> (B, T) ids padded with 0 to at least ``width``, and the (B, T) mask of the real ones."""
    longest = max(width, *map(len, rows))
    ids = np.zeros((len(rows), longest), np.int64)
    mask = np.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return ids, mask
