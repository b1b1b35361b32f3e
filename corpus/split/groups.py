"""Groups of questions and answers that share texts: connected components over hashes, so that no text is held."""

from __future__ import annotations

import hashlib
from array import array

import numpy as np

from osparse.algorithms.components import smallest_members


def text_id(kind: str, text: str) -> str:
    """An id made from the text: equal texts are one document."""
    return f"{kind}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def node(kind: str, text: str) -> int:
    """64-bit name of a text as a question ("q") or as a document ("d")."""
    return int.from_bytes(hashlib.sha256(f"{kind}{text}".encode()).digest()[:8], "big")


class Components:
    """Collects links between nodes (16 bytes each), then names each node's component by its smallest member."""

    def __init__(self) -> None:
        self._one, self._other = array("Q"), array("Q")
        self._nodes = np.zeros(0, np.uint64)
        self._labels = np.zeros(0, np.int64)

    def link(self, one: int, other: int) -> None:
        self._one.append(one)
        self._other.append(other)

    def close(self) -> None:
        """Find the components, once all links were made."""
        one, other = (np.frombuffer(part, np.uint64) if part else self._nodes for part in (self._one, self._other))
        self._nodes, places = np.unique(np.concatenate([one, other]), return_inverse=True)
        a, b = places[: len(one)], places[len(one) :]
        self._labels = smallest_members(len(self._nodes), a, b)
        self._one, self._other = array("Q"), array("Q")

    def group(self, member: int) -> str:
        """Name of the component, whatever order the links came in; "" for a node without links."""
        place = int(np.searchsorted(self._nodes, np.uint64(member)))
        if place == len(self._nodes) or int(self._nodes[place]) != member:
            return ""
        return f"g:{int(self._nodes[self._labels[place]]):016x}"
