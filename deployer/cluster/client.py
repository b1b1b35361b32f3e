"""One cluster over HTTP: sends a request, retries where that is safe, and raises every failure as an error of osparse.

The connection is opensearch-py's; its transport layer is not used, because that drops the response headers
(Retry-After) and answers that are not JSON become errors without a status.
"""

from __future__ import annotations

import copy
import json
import logging
import random
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, cast

from opensearchpy.connection import Urllib3HttpConnection
from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import ConnectionTimeout, SSLError
from urllib3.exceptions import LocationValueError

from osparse.deployer.cluster.credentials import Credentials, check_url, connection_arguments
from osparse.deployer.cluster.reasons import meaning_of
from osparse.errors import AccessError, ClusterBusyError, ClusterError, ClusterUnreachableError, InputError

log = logging.getLogger("osparse.deployer.cluster.client")
logging.getLogger("opensearch").addHandler(logging.NullHandler())  # or Python prints its warnings on standard error

_ALL_STATUSES = range(300, 600)
_SAID_BY_PROXIES = (401, 403, 407, 413, 429, 500, 502, 503, 504)
"""Statuses whose meaning is plain although the body is a page and not JSON."""
_LONGEST_WAIT = 60.0
"""Seconds; of a Retry-After beyond it no more is waited."""


@dataclass(frozen=True)
class Answer:
    """What the cluster answered; ``body`` is parsed JSON, or None when it is empty."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def reason(self) -> str:
        """The cluster's own words for a failure, deepest cause last."""
        return reason_of(self.body)


def reason_of(body: Any) -> str:
    """The reasons in an OpenSearch error object, each once, of the answer that holds one, or any other body as text."""
    error = body.get("error", body) if isinstance(body, dict) else body
    words: list[str] = []
    while isinstance(error, dict):
        reason = error.get("reason")
        if isinstance(reason, str) and not any(earlier.endswith(reason) for earlier in words):
            words.append(reason)  # a cause often only repeats the end of what it caused
        shards = error.get("failed_shards") or [{}]
        error = error.get("caused_by") or shards[0].get("reason")
    if not words and isinstance(error, str):
        words = [error]
    return "; ".join(words) or (json.dumps(body, ensure_ascii=False)[:300] if body else "no reason given")


class _TimedOutError(ClusterUnreachableError):
    """No answer within the time allowed."""


class Cluster:
    """A cluster's address and the one way requests reach it; thread-safe. Nothing is sent until the first request.

    A context manager that closes its connections at the end.

    Args:
        url: ``http(s)://host[:port][/prefix]``; one with a user name or password in it is refused.
        credentials: Taken from the environment when None.
        ca_file: PEM bundle to check the cluster's certificate with.
        insecure: Do not check the certificate.
        client_cert: PEM file to show the cluster; it may hold the key too.
        client_key: PEM file of the key.
        retries: How often a request that can be repeated is repeated (429, 503, a dropped connection).
        backoff: Seconds before the first repetition; doubles each time.
    """

    serverless = False
    """Whether it is a collection of OpenSearch Serverless, which has some of the calls only."""

    def __init__(
        self,
        url: str,
        *,
        credentials: Credentials | None = None,
        ca_file: Path | None = None,
        insecure: bool = False,
        client_cert: Path | None = None,
        client_key: Path | None = None,
        retries: int = 6,
        backoff: float = 0.5,
    ) -> None:
        parts = check_url(url)
        self.url = parts.geturl()
        self._retries, self._backoff = retries, backoff
        credentials = Credentials.from_environment() if credentials is None else credentials
        self._credentials = credentials.kind
        self._hide = credentials.hide
        self._https = parts.scheme == "https"
        arguments: Any = connection_arguments(parts, credentials, ca_file, insecure, client_cert, client_key)
        self._arguments = arguments
        try:
            self._connection = Urllib3HttpConnection(timeout=60, pool_maxsize=8, **arguments)
        except LocationValueError:
            raise InputError(f"{url!r} names no host that can be; write it like http://localhost:9200") from None

    def __repr__(self) -> str:
        return f"Cluster({self.url!r}, credentials={self._credentials!r})"

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def single_client(self, timeout: float = 60) -> Cluster:
        """The same cluster over a connection of its own, for one thread; a request is sent once and never repeated.

        Args:
            timeout: Seconds after which an answer is given up.
        """
        client = copy.copy(self)
        client._retries, arguments = 0, cast(Any, self._arguments)
        client._connection = Urllib3HttpConnection(timeout=timeout, pool_maxsize=1, **arguments)
        return client

    def close(self) -> None:
        """Close the pooled connections; no request can be sent afterwards."""
        self._connection.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        allow: Collection[int] = (),
        repeatable: bool | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Send one request and return its answer.

        Args:
            body: JSON data, or bytes sent as they are.
            allow: Error statuses that the caller wants to see instead of an exception.
            repeatable: Whether sending it twice does no harm; None: unless the method is POST. A request that must
                not be sent twice is only repeated after 429, which says that it was not begun.

        Raises:
            ClusterUnreachableError: nothing answers.
            AccessError: the credentials are missing or refused.
            ClusterBusyError: it still refuses work after the last repetition.
            ClusterError: any other error status.
        """
        repeatable = method != "POST" if repeatable is None else repeatable
        tries = 0
        while True:
            tries += 1
            try:
                answer = self._send(method, path, params, body, content_type, timeout)
            except _TimedOutError:
                raise  # the request may still be running: a retry would add load
            except ClusterUnreachableError:
                if not repeatable or tries > min(self._retries, 2):
                    raise
                wait = self._pause(tries, None)
            else:
                busy = answer.status == 429 or (repeatable and answer.status in (502, 503, 504))
                busy = busy and not _is_lasting(answer)
                if not busy or answer.status in allow or tries > self._retries:
                    return self._judge(method, path, answer, allow, tries)
                wait = self._pause(tries, answer.headers.get("retry-after"))
            log.debug("%s %s: try %d in %.1f s", method, path, tries + 1, wait)
            time.sleep(wait)

    def _pause(self, tries: int, retry_after: str | None) -> float:
        asked = None if retry_after is None else _seconds(retry_after)
        if asked is not None:
            return min(asked, _LONGEST_WAIT)
        return float(min(self._backoff * 2 ** (tries - 1), 10.0) * (0.5 + random.random() / 2))

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Any,
        content_type: str,
        timeout: float | None,
    ) -> Answer:
        data = body if body is None or isinstance(body, bytes) else _encoded(body)
        headers = {"content-type": content_type} if data is not None else {}
        try:
            status, raw_headers, text = self._connection.perform_request(
                method, path, params, data, timeout=timeout, ignore=_ALL_STATUSES, headers=headers
            )
        except NoConnection as problem:
            raise self._unreachable(problem) from None
        lowered = {name.lower(): value for name, value in raw_headers.items()}
        return Answer(status, self._parse(text, lowered, status), lowered)

    def _unreachable(self, problem: NoConnection) -> ClusterError:
        if isinstance(problem.info, UnicodeDecodeError):
            return ClusterError(
                f"{self.url} answers, but not as OpenSearch does: its answer is no UTF-8; check the address"
            )
        words = self._hide(f"{problem.info}")
        if "key values mismatch" in words.lower() or "PEM lib" in words:
            return AccessError(
                f"the client certificate for {self.url} cannot be used ({_short(words)}): it must be PEM, and the key "
                "must belong to the certificate"
            )
        if isinstance(problem, SSLError) or "SSL" in words or "certificate" in words.lower():
            return AccessError(
                f"{self.url}: the TLS connection failed ({_short(words)}); check the address, pass the cluster's "
                "certificate authority as `ca_file`, or skip the check with `insecure=True`"
            )
        if isinstance(problem, ConnectionTimeout):
            return _TimedOutError(f"{self.url} did not answer in time; is the cluster overloaded?")
        hint = (
            "does the cluster need https://?" if not self._https and "RemoteDisconnected" in words else "is it running?"
        )
        return ClusterUnreachableError(f"{self.url} cannot be reached ({_short(words)}); {hint}")

    def _parse(self, text: str, headers: Mapping[str, str], status: int) -> Any:
        if not text.strip():
            return None
        try:
            body = json.loads(text)
            return self._without_secrets(body) if status >= 300 else body
        except json.JSONDecodeError:
            if 300 <= status < 400 or status in _SAID_BY_PROXIES:
                return {"error": _short(self._hide(text))}
        kind = headers.get("content-type", "no content type")
        hint = " (it expects TLS: use https://)" if "plain HTTP" in text else ""
        raise ClusterError(
            f"{self.url} answers, but not as OpenSearch does: status {status}, {kind}{hint}; check the address"
        )

    def _without_secrets(self, body: Any) -> Any:
        """An error's body; in its values, not in its text: JSON writes a quote in a password another way."""
        if isinstance(body, dict):
            return {key: self._without_secrets(value) for key, value in body.items()}
        if isinstance(body, list):
            return [self._without_secrets(value) for value in body]
        return self._hide(body) if isinstance(body, str) else body

    def _judge(self, method: str, path: str, answer: Answer, allow: Collection[int], tries: int) -> Answer:
        if answer.status < 300 or answer.status in allow:
            return answer
        if answer.status < 400:
            target = self._hide(answer.headers.get("location", "elsewhere"))
            raise ClusterError(f"{self.url} redirects to {target}; give that address")
        known = meaning_of(answer.reason)
        if known is not None:
            refused = f"{self.url} refused {method} {path} ({answer.status}): {answer.reason}"
            raise ClusterError(f"{refused}; {known.advice}")
        if answer.status == 401:
            raise AccessError(
                f"{self.url} requires credentials (401; credentials sent: {self._credentials}); set "
                "OSPARSE_USERNAME and OSPARSE_PASSWORD, OSPARSE_API_KEY or OSPARSE_BEARER"
            )
        if answer.status == 403:
            raise AccessError(
                f"{self.url} does not let these credentials ({self._credentials}) do {method} {path}: {answer.reason}"
            )
        if answer.status == 413:
            raise ClusterError(
                f"{self.url} or a proxy before it refuses bodies of the size of {method} {path} (413); raise its "
                "limit: osparse sends up to 10 MB (documents are sent in smaller bodies by themselves)"
            )
        if answer.status in (429, 502, 503, 504):
            raise ClusterBusyError(
                f"{self.url} is too busy for {method} {path} ({answer.status} at try {tries}): {answer.reason}; "
                "try again later"
            )
        raise ClusterError(f"{self.url} refused {method} {path} ({answer.status}): {answer.reason}")


def _is_lasting(answer: Answer) -> bool:
    known = meaning_of(answer.reason)
    return known is not None and known.lasting


def _seconds(retry_after: str) -> float | None:
    """Of a Retry-After header: whole seconds, or the date until which to wait; None for anything else."""
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        until = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    now = datetime.now(UTC if until.tzinfo else None)
    return max(0.0, (until - now).total_seconds())


def _encoded(body: Any) -> bytes:
    """As UTF-8; half a surrogate pair, which no JSON may hold, becomes a question mark."""
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def _short(words: str) -> str:
    """The cause alone: what follows the last 'object at 0x...>: ' of urllib3's message."""
    return " ".join(words.split(">: ")[-1].split())[:200]
