"""Dynamic batching: the texts of all requests wait in one queue, and the encoder takes as many as it may at once.

While the encoder works, texts gather; when it is free it takes the first of them at once. So a single request never
waits for company, and many requests share each run of the encoder.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from osparse.serving.metrics import Metrics
from osparse.serving.vectors import SparseVector

log = logging.getLogger("osparse.serving.batcher")

Encode = Callable[[Sequence[str]], list[SparseVector]]
"""Texts -> exactly one vector for each, in order."""


class QueueFullError(Exception):
    """The queue has no room for the texts of a request."""


class _Text(NamedTuple):
    text: str
    done: asyncio.Future[SparseVector]


class Batcher:
    """One queue before one encoder, in one event loop."""

    def __init__(self, encode: Encode, metrics: Metrics, *, max_batch: int, max_queue: int) -> None:
        self._encode, self._metrics = encode, metrics
        self._max_batch, self._max_queue = max_batch, max_queue
        self._waiting: deque[_Text] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="osparse-encode")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End after the requests have ended, which the server waits for before it calls this."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for waiting in self._waiting:
            waiting.done.cancel()
        self._thread.shutdown(cancel_futures=True)

    async def encode(self, texts: Sequence[str]) -> list[SparseVector]:
        """One vector per text, in order.

        Raises:
            QueueFullError: the queue is full. A request alone is accepted whatever its size: it could never be
                accepted otherwise.
            Exception: what the encoder raised for one of the texts.
        """
        if self._waiting and len(self._waiting) + len(texts) > self._max_queue:
            raise QueueFullError
        loop = asyncio.get_running_loop()
        entries = [_Text(text, loop.create_future()) for text in texts]
        self._waiting.extend(entries)
        self._metrics.set("queue_texts", len(self._waiting))
        self._arrived.set()
        results = await asyncio.gather(*(entry.done for entry in entries), return_exceptions=True)
        failed = next((result for result in results if isinstance(result, BaseException)), None)
        if failed is not None:
            raise failed
        return [result for result in results if isinstance(result, SparseVector)]

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            batch = self._take()
            if batch:
                await self._encode_batch(batch)

    def _take(self) -> list[_Text]:
        """The first texts that wait, without those whose client has gone."""
        batch: list[_Text] = []
        while self._waiting and len(batch) < self._max_batch:
            entry = self._waiting.popleft()
            if not entry.done.done():
                batch.append(entry)
        if not self._waiting:
            self._arrived.clear()
        self._metrics.set("queue_texts", len(self._waiting))
        return batch

    async def _encode_batch(self, batch: list[_Text]) -> None:
        """Encode together; where that fails, each text alone, so that one bad text fails its own request only."""
        try:
            vectors = await self._in_thread([entry.text for entry in batch])
        except Exception as problem:  # noqa: BLE001 - whatever the encoder raises is the answer to a request
            if len(batch) == 1:
                log.error("a text could not be encoded: %s", type(problem).__name__)
                _fail(batch[0], problem)
                return
            for entry in batch:
                await self._encode_batch([entry])
            return
        for entry, vector in zip(batch, vectors, strict=True):
            if not entry.done.done():
                entry.done.set_result(vector)

    async def _in_thread(self, texts: list[str]) -> list[SparseVector]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        vectors = await loop.run_in_executor(self._thread, self._encode, texts)
        if len(vectors) != len(texts):
            raise RuntimeError(f"the encoder gave {len(vectors)} vectors for {len(texts)} texts")
        self._metrics.add("batches_total", 1)
        self._metrics.add("texts_total", len(texts))
        self._metrics.add("encode_seconds_total", loop.time() - started)
        return vectors


def _fail(entry: _Text, problem: Exception) -> None:
    if not entry.done.done():
        entry.done.set_exception(problem)
