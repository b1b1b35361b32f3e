"""Readiness is proved, not read: the served model must give the weights of the bundle's probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from osparse.contracts.bundle import Bundle
from osparse.encoders.similarity import unlike
from osparse.errors import CheckError

TOLERANCE = 1e-4
"""Largest difference of a weight; a token that is not there has weight 0. A quantised bundle says its own."""
_TEXTS = 8
"""Probes per call."""


class Predicting(Protocol):
    def predict(self, model_id: str, texts: Sequence[str]) -> list[dict[str, float]]:
        """{token: weight} of each text."""


def prove(ml: Predicting, model_id: str, bundle: Bundle, part: Literal["encoder", "tokenizer"]) -> None:
    """Raises :class:`CheckError` naming the text and token whose weight differs by more than the bundle's tolerance."""
    probes = bundle.probes()
    allowed = max(TOLERANCE, bundle.tolerance) if part == "encoder" else TOLERANCE
    quantised = bool(bundle.quantization)
    for start in range(0, len(probes), _TEXTS):
        taken = probes[start : start + _TEXTS]
        for probe, served in zip(taken, ml.predict(model_id, [p.text for p in taken]), strict=True):
            expected = probe.document if part == "encoder" else probe.query
            what = f"the served {part} of bundle {bundle.name}"
            check_weights(what, probe.text, expected, served, allowed, alike=part == "encoder" and quantised)


def check_weights(
    what: str,
    text: str,
    expected: Mapping[str, float],
    served: Mapping[str, float],
    allowed: float = TOLERANCE,
    *,
    alike: bool = False,
) -> None:
    """Raises :class:`CheckError` naming the token with the largest difference, if that is above ``allowed``.

    Args:
        alike: The whole vector must be like the expected one too: ``allowed`` is a quantised bundle's.
    """
    token, difference = largest_difference(expected, served)
    if difference > allowed:
        raise CheckError(
            f"{what} is not the proved one: for {text[:40]!r} the token {token!r} has {served.get(token, 0.0):.6g}, "
            f"not {expected.get(token, 0.0):.6g}; is the bundle made for this OpenSearch version? Check it with "
            "osparse verify, and package again"
        )
    if alike and (far := unlike(served, expected)):
        raise CheckError(
            f"{what} is not the proved one: for {text[:40]!r} it gives another vector: {far}; check the bundle with "
            "osparse verify, and package again"
        )


def largest_difference(expected: Mapping[str, float], served: Mapping[str, float]) -> tuple[str, float]:
    """The token whose weights differ most, and by how much."""
    differences = {token: abs(expected.get(token, 0.0) - served.get(token, 0.0)) for token in {**expected, **served}}
    return max(differences.items(), key=lambda pair: (pair[1], pair[0]), default=("", 0.0))
