"""The last step of ``package``: the bundle is verified, measured, and told about in its manifest and card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from osparse.contracts.bundle import Bundle, rewrite_manifest
from osparse.errors import InputError
from osparse.packager.card import card
from osparse.packager.fit.measure import measure
from osparse.packager.verify_bundle import verify

if TYPE_CHECKING:
    from osparse.contracts.dataset import Dataset

CARD = "README.md"


def finish(folder: Path, dataset: Dataset | None = None) -> Bundle:
    """Verify the files in ``folder``, whose graphs were compared with their model, and write down how they fit.

    Raises:
        CheckError: something does not hold; the message is the whole table.
    """
    bundle = verify(folder, graphs=False).bundle
    fit = measure(bundle, dataset)
    bundle = rewrite_manifest(bundle, fit=fit.to_json())
    (folder / CARD).write_text(card(bundle, fit), encoding="utf-8")
    return bundle


def require_dataset(bundle: Bundle, dataset: Dataset | None) -> None:
    """Raises :class:`InputError` if the fit was measured on something else than the dataset that is given now."""
    if dataset is None or bundle.fit.get("measured_on", {}).get("fingerprint") == dataset.fingerprint:
        return
    raise InputError(
        f"{bundle.path} is up to date, but its fit was not measured on {dataset.path}; pass --overwrite to make it "
        f"again with that, or see the figures with: osparse verify {bundle.path} --dataset {dataset.path}"
    )
