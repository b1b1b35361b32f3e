"""What the refusal of a bulk item says about a remote encoder, by the words of ML Commons.

The items of one remote call fail together, with one reason: a fault that passes is met by sending them again, and a
document that spoils its call is found by sending each of them alone.
"""

from __future__ import annotations

import re

_PASSING = re.compile(
    r"Error communicating with remote model|Acquire operation took longer|connection was closed during the request|"
    r"Remote service returned empty response body|remote server throttling|"
    r"Error from remote service: .*\b(bad gateway|service unavailable|gateway time-?out)\b",
    re.IGNORECASE,
)
"""Refused, timed out, cut off, closed, no connection free, throttled: nothing about the documents."""
_SHARED = re.compile(
    r"parameter placeholder not filled|Infinite loop in property interpolation|Error from remote service|"
    r"index_out_of_bounds|toIndex = |Pruned values must be positive|expected inference result|null_pointer|"
    r"must not be null|Invalid payload",
    re.IGNORECASE,
)
"""Of one document, or of the answer to one call, and borne by all documents of the call."""


def passes(reason: str) -> bool:
    """Whether the same call may go well a moment later."""
    return _PASSING.search(reason) is not None


def may_be_of_another(reason: str) -> bool:
    """Whether the document may be refused for another one of its call."""
    return _SHARED.search(reason) is not None
