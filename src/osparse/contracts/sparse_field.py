"""A further sparse field of an index, beside the one that holds the weights of its text.

``title_sparse=title^2`` holds the weights of the titles, which count twice in a search; ``b_sparse=text^0@build/b``
those that another bundle gives the text, searched only where the field is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class FieldBundle:
    """What ``_meta`` says of a bundle that encodes a further field, where it is not the index's own."""

    name: str
    fingerprint: str
    """64 hex digits."""
    idf_version: str
    vocabulary: int
    max_length: int

    @property
    def short(self) -> str:
        return self.fingerprint[:12]


@dataclass(frozen=True)
class SparseField:
    """A further sparse field."""

    path: str
    """Its name in the mapping, at the top level."""
    template: str | None = None
    """How the text that it encodes is made of a document's fields (``{title}``); None: the document's text."""
    boost: float = 1.0
    """What its part of a score is multiplied by; 0: it is searched only where it is named."""
    bundle: FieldBundle | None = None
    """What encodes it; None: the index's own bundle."""

    @classmethod
    def from_meta(cls, raw: Mapping[str, Any]) -> SparseField:
        """Raises :class:`TypeError` for anything but what :meth:`to_meta` returns."""
        bundle = raw.get("bundle")
        return cls(**{**raw, "bundle": None if bundle is None else FieldBundle(**bundle)})

    def to_meta(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def layout(self) -> str:
        """What cannot change while the index holds documents, in one line."""
        source = "text" if self.template is None else self.template
        return f"{self.path}={source}" + (f"@{self.bundle.name}-{self.bundle.short}" if self.bundle else "")
