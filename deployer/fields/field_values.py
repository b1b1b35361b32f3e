"""The values of a row as JSON can hold them: what a file's own types become in an index."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any


def json_value(value: Any) -> Any:
    """The same value in JSON's types.

    Dates and times become ISO 8601 text, decimals numbers, bytes base64 text (as a ``binary`` field takes them).

    Raises:
        ValueError: JSON has nothing for it; the message says what it is.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (float, Decimal)):
        return _number(value)
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {_name(key): json_value(below) for key, below in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(below) for below in value]
    raise ValueError(f"a {type(value).__name__}, which JSON cannot hold")


def _number(value: float | Decimal) -> int | float:
    if not math.isfinite(value):
        raise ValueError(f"{value}, which JSON cannot hold")
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    return float(value)


def _name(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError(f"an object with the name {key!r}, and JSON's names are texts")
    return key
