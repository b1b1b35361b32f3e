"""What ``package`` was asked to make, checked before any weight is loaded, and whether a folder holds it already."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osparse.contracts.bundle import MAX_NAME, Bundle
from osparse.contracts.model import Model
from osparse.errors import BundleError, CheckError, InputError
from osparse.formula.head import Head
from osparse.opensearch_versions import Target
from osparse.packager.export import formats
from osparse.packager.export.formats import Format
from osparse.packager.quantize.choice import Quantization
from osparse.packager.vocabulary.request import VocabularyRequest
from osparse.plugins.extras import check

if TYPE_CHECKING:
    from osparse.contracts.dataset import Dataset

log = logging.getLogger("osparse.packager.recipe")
RECIPE = 4
"""Raised when the same model would make another bundle; in the manifest as ``checks.recipe``."""


@dataclass(frozen=True)
class Recipe:
    """A bundle that is to be made."""

    model: Model
    formats: Mapping[str, Format]
    """Name -> format, in the order in which a bundle lists them."""
    name: str
    targets: Sequence[Target]
    """Servers that it must run on."""
    quantize: Quantization | None = None
    dataset: Dataset | None = None
    """What its fit is measured on; its own probes if None."""
    vocabulary: VocabularyRequest | None = None
    """Which tokens of the model are to be left; all if None."""
    nonzeros: int | None = None
    """Weights of a document that are to be left, the largest; as many as the model keeps if None."""

    @property
    def quantization(self) -> dict[str, Any]:
        """What the manifest says of it beside what it loses; {} for fp32."""
        if self.quantize is None:
            return {}
        calibrated = self.dataset if self.quantize.calibrated else None
        return {"scheme": str(self.quantize), **({"calibrated_on": calibrated.fingerprint} if calibrated else {})}

    def require_fewer_nonzeros(self) -> None:
        """Raises :class:`InputError` for non-zeros that leave nothing, or nothing out."""
        most = None if self.model.head.keep_own else self.model.head.top_k
        if self.nonzeros is not None and self.nonzeros < 1:
            raise InputError(f"`nonzeros` must be at least 1, got {self.nonzeros}")
        if self.nonzeros is not None and most is not None and self.nonzeros > most:
            raise InputError(
                f"{self.model.path} keeps {most} weights of a document at most, got `nonzeros={self.nonzeros}`; leave "
                "`nonzeros` out, or train with a larger head.top_k"
            )

    def require_modules(self) -> None:
        """Raises :class:`MissingExtraError` for a format that cannot be exported here."""
        for module in dict.fromkeys(module for form in self.formats.values() for module in form.modules):
            check(module, "train")

    def already_made(self, output: Path, overwrite: bool) -> Bundle | None:
        """The bundle of this recipe that ``output`` holds; None if it is to be made.

        Raises:
            InputError: ``output`` holds something else.
            BundleError: it holds a broken bundle.
            CheckError: it holds this bundle, which a target that was asked for does not run.
        """
        made = self._same_in(output, overwrite)
        if made is not None:
            self._require_targets(made)
            self._require_dataset(made)
            log.info("%s is up to date", output)
        return made

    def _same_in(self, output: Path, overwrite: bool) -> Bundle | None:
        if not output.exists() or (output.is_dir() and not any(output.iterdir())):
            return None
        if not (output / "manifest.json").is_file():
            raise InputError(f"{output} is not empty and not a bundle, so it is not replaced; choose another `output`")
        try:
            made = Bundle.open(output)
        except BundleError as problem:
            if overwrite:
                return None
            raise BundleError(
                f"{problem}\npass `overwrite=True` to make it again, or choose another `output`"
            ) from None
        quantization = {key: made.quantization[key] for key in ("scheme", "calibrated_on") if key in made.quantization}
        same = (made.checks.get("recipe"), _source(made), made.formats, made.name, quantization, _cut_of(made.head))
        same_texts = made.seen is None if self.model.seen is None else made.seen == self.model.seen
        asked = (RECIPE, self._source, list(self.formats), self.name, self.quantization, _cut_of(self._cut.head))
        if same_texts and same == asked:
            return made
        if overwrite:
            return None
        raise InputError(
            f"{output} was made from another model, by another version of the packager, or with another name, formats, "
            "quantisation, vocabulary or non-zeros; pass `overwrite=True` to replace it, or choose another `output`"
        )

    @property
    def _source(self) -> Any:
        return self._cut.fingerprint if self.vocabulary is None else self.vocabulary.identity()

    @cached_property
    def _cut(self) -> Model:
        """The model with the non-zeros that were asked for."""
        if self.nonzeros is None:
            return self.model
        return replace(self.model, head=self.model.head.capped(self.nonzeros))

    def _require_targets(self, made: Bundle) -> None:
        lacking = [target.version for target in self.targets if target.version not in made.targets]
        if lacking:
            raise CheckError(
                f"{made.path} is up to date, but it is not proved for OpenSearch {', '.join(lacking)}, only for "
                f"{', '.join(made.targets)}; package other `formats`, or ask for another `target`"
            )

    def _require_dataset(self, made: Bundle) -> None:
        measured = made.fit.get("measured_on", {}).get("fingerprint")
        if self.dataset is not None and measured != self.dataset.fingerprint:
            raise InputError(
                f"{made.path} is up to date, but its fit was not measured on {self.dataset.path}; pass "
                "`overwrite=True` to make it again with that, or see the figures with: osparse verify "
                f"{made.path} --dataset {self.dataset.path}"
            )


def _source(made: Bundle) -> Any:
    """What a bundle was made from: a model's fingerprint, or the request to trim one."""
    return made.trimming.get("request", made.model)


def _cut_of(head: Head) -> tuple[int | None, bool]:
    return head.top_k, head.keep_own


def safe_name(name: str) -> str:
    """A bundle name from a folder's name: My Model -> my-model."""
    name = re.sub(r"[^a-z0-9._-]+", "-", name.lower())
    return re.sub(r"\.{2,}", ".", name)[:MAX_NAME].strip("._-") or "model"


def formats_of(names: Sequence[str]) -> dict[str, Format]:
    """The formats of these names, in the order of all; raises :class:`InputError` for none and for an unknown one."""
    known = formats.known()
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise InputError(f"format {', '.join(unknown) or '(none)'}: choose from {', '.join(known)}")
    return {name: formats.get(name) for name in known if name in names}
