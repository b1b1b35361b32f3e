"""What ML Commons does with a deployed remote model: fill the connector's template, call the address, judge the answer.

Rules and texts were measured on OpenSearch 3.4.0; the call is real.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

from mlcommons_refusals import Refused

_SLOT = re.compile(r"\$\{parameters\.([^}]*)\}")

PIECE = 8192
"""Bytes of an answer that are decoded by themselves: a character on the border of two is lost (seen on 3.4)."""


class RemoteRuntime:
    """A deployed remote model."""

    encodes = True

    def __init__(
        self, connector: Callable[[], dict[str, Any]], private_allowed: bool, hosts: Mapping[str, str] | None = None
    ) -> None:
        """``connector`` gives today's; a model that is given another one uses it from the next call on.

        ``hosts``: those that a local server stands in for, and its address.
        """
        self._connector, self._private_allowed, self._hosts = connector, private_allowed, hosts or {}

    @property
    def template(self) -> str:
        return str(self._connector()["actions"][0]["request_body"])

    def encode(self, texts: list[str], form: str | None) -> list[dict[str, float]]:
        """As the ingest processor uses an answer: too few vectors fail it, too many are not noticed."""
        rows = self.call(texts, form)
        for row in rows:
            if not isinstance(row, dict) or any(not isinstance(weight, (int, float)) for weight in row.values()):
                reason = "The expected inference result is a Map with String keys and Float values."
                raise Refused(400, "illegal_argument_exception", reason)
            if any(weight <= 0 for weight in row.values()):
                raise Refused(400, "illegal_argument_exception", "Pruned values must be positive")
        if len(rows) < len(texts):
            raise Refused(500, "index_out_of_bounds_exception", f"toIndex = {len(texts)}")
        return rows[: len(texts)]

    def call(self, texts: list[str], form: str | None) -> list[Any]:
        """The list under ``response``, or the bare list that the address answered."""
        connector = self._connector()
        action = connector["actions"][0]
        parameters = {**connector.get("parameters", {}), "input": json.dumps(texts, ensure_ascii=False)}
        if form is not None:
            parameters["sparse_embedding_format"] = form
        body = _filled(action["request_body"], parameters, action["request_body"])
        left = _SLOT.search(body)
        if left and parameters.get("skip_validating_missing_parameters") != "true":
            reason = f"Some parameter placeholder not filled in payload: {left[1]}"
            raise Refused(400, "illegal_argument_exception", reason)
        try:
            json.loads(body)
        except json.JSONDecodeError:
            raise Refused(400, "illegal_argument_exception", f"Invalid payload: {body}") from None
        value = self._answer(action, connector, body.encode("utf-8", "replace"))
        value = value.get("response") if isinstance(value, dict) else value
        if not isinstance(value, list):
            reason = "The inference result should be associated with the field [response]."
            raise Refused(400, "illegal_argument_exception", reason)
        return value

    def _answer(self, action: dict[str, Any], connector: dict[str, Any], body: bytes) -> Any:
        """Sent again only where the answer carries the header of a throttled AWS service."""
        tries = 1 + int(connector["client_config"].get("max_retry_times", 0))
        for _ in range(tries):
            status, headers, data = self._post(action, connector, body)
            throttled = headers.get("x-amzn-errortype", "").startswith("ThrottlingException")
            if not throttled:
                break
        if throttled:
            reason = (
                "Error from remote service: The request was denied due to remote server throttling. To change the retry "
                "policy and behavior, please update the connector client_config."
            )
            raise Refused(429, "remote_connector_throttling_exception", reason)
        if status != 200:
            said = data.decode("utf-8", "replace")
            reason = (
                f"Error from remote service: {said}"
                if said
                else (f"Remote service returned error status {status} with empty body")
            )
            raise Refused(status, "status_exception", reason)
        if not data:
            raise Refused(502, "status_exception", "Remote service returned empty response body")
        try:
            pieces = (data[start : start + PIECE] for start in range(0, len(data), PIECE))
            return json.loads("".join(piece.decode("utf-8", "replace") for piece in pieces))
        except ValueError:
            cause = ("malformed_json_exception", "Use JsonReader.setLenient(true) to accept malformed JSON")
            raise Refused(500, "m_l_exception", "Fail to execute PREDICT in aws connector", cause) from None

    def _post(
        self, action: dict[str, Any], connector: dict[str, Any], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        url = urlsplit(action["url"])
        instead = urlsplit(self._hosts.get(str(url.hostname), ""))
        host, port = str(url.hostname), url.port or 80
        if host in ("127.0.0.1", "localhost") and not self._private_allowed:
            reason = f"Remote inference host name has private ip address: {host}"
            raise Refused(400, "illegal_argument_exception", reason)
        headers = {
            name: re.sub(r"\$\{credential\.(\w+)\}", lambda found: connector["credential"][found[1]], value)
            for name, value in action.get("headers", {}).items()
        }
        host, port = (str(instead.hostname), instead.port or 80) if instead.hostname else (host, port)
        connection = http.client.HTTPConnection(host, port, timeout=connector["client_config"]["read_timeout"])
        try:
            connection.request("POST", url.path, body, {"content-type": "application/json", **headers})
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, data
        except http.client.IncompleteRead as cut:
            announced = len(cut.partial) + int(cut.expected or 0)
            _failed(200, f"Response had content-length of {announced} bytes, but only received {len(cut.partial)} bytes "
                    "before the connection was closed.")  # fmt: skip
        except ConnectionRefusedError:
            _failed(500, f"Connection refused: /{host}:{port}")
        except TimeoutError:
            _failed(500, "Read timed out")
        except (http.client.HTTPException, OSError):
            _failed(500, "The connection was closed during the request. The request will usually succeed on a retry")
        finally:
            connection.close()


def _failed(status: int, reason: str) -> NoReturn:
    raise Refused(status, "status_exception", f"Error communicating with remote model: {reason}")


def _filled(text: str, parameters: dict[str, str], template: str, inside: tuple[str, ...] = ()) -> str:
    """Slots filled, also those that the values bring; ``:-`` gives a default."""

    def value(found: re.Match[str]) -> str:
        name, separator, default = found[1].partition(":-")
        if name in inside:
            reason = f"Infinite loop in property interpolation of {template}: {name}"
            raise Refused(500, "illegal_state_exception", reason)
        if name in parameters:
            return _filled(parameters[name], parameters, template, (*inside, name))
        return default if separator else found[0]

    return _SLOT.sub(value, text)
