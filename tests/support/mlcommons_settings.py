"""Index settings by dotted names, and as a GET shows them."""

from __future__ import annotations

from typing import Any


def flat_settings(settings: dict[str, Any], before: str = "") -> dict[str, Any]:
    """By dotted names, without the leading ``index.``."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        path = f"{before}{name}".removeprefix("index.")
        flat.update(
            flat_settings(value, f"{path}.".removeprefix("index.")) if isinstance(value, dict) else {path: value}
        )
    return flat


def nested_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """As a GET shows them without ``flat_settings``: by parts of the dotted name, every value as text."""
    nested: dict[str, Any] = {}
    for path, value in flat_settings(settings).items():
        *above, last = path.split(".")
        place = nested
        for part in above:
            place = place.setdefault(part, {})
        place[last] = str(value)
    return {"index": nested} if nested else {}
