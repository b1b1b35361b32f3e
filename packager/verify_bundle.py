"""``verify``: a bundle is checked again, alone, wherever it is: hashes, zips, tokenizer, IDF, graphs and answers.

The ONNX encoder runs everywhere (no torch needed); the TorchScript one where torch is installed; both run in the
server's own runtime with ``runtime="djl"``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from osparse.contracts.bundle import Bundle
from osparse.contracts.imported import MARKER, ImportedModel
from osparse.errors import CheckError, InputError
from osparse.packager.checks.registry import RUNTIMES, Check, Runtime, Subject, failed, require, run_all, table

if TYPE_CHECKING:
    from osparse.contracts.dataset import Dataset
    from osparse.contracts.model import Model
    from osparse.packager.fit.fit import Fit

__all__ = ["Check", "Verification", "verify"]


@dataclass(frozen=True)
class Verification:
    """What was checked in a bundle, or in an imported model; every outcome is ``ok`` or ``not run``."""

    bundle: Bundle | ImportedModel
    checks: tuple[Check, ...]
    fit: Fit | None = None
    """Of the dataset that was given."""

    def table(self) -> str:
        return table(self.checks)


def verify(
    path: Path | str,
    *,
    runtime: Runtime = "python",
    model: Model | Path | str | None = None,
    reference: Path | str | None = None,
    dataset: Dataset | Path | str | None = None,
) -> Verification:
    """Check a bundle, or a model that ``import_model`` has read back.

    Args:
        runtime: ``djl`` runs its zips in DJL 0.31.1 with libtorch 2.5.1 and ONNX Runtime 1.16.3 too: jars from Maven
            Central, fetched once (222 MB), in a child process.
        model: what it was made from, to compare its graphs with that too; of a trimmed bundle the whole model, of
            which the tokens that are left are compared.
        reference: another's checkpoint, to compare documents and queries with what sentence-transformers makes of it.
        dataset: what to measure its fit on; the manifest's figures if None.

    Raises:
        InputError: an unknown runtime, one that this machine cannot run, or another model.
        BundleError: it is not a whole bundle, or a zip is unsafe.
        CheckError: something in it does not hold; the message is the whole table.
        MissingExtraError: ``reference`` is given, and sentence-transformers is not installed.
        NodeError: the server's runtime could not be fetched or started.
    """
    if runtime not in RUNTIMES:
        raise InputError(f"`runtime` must be one of {', '.join(RUNTIMES)}, got {runtime}")
    if (Path(path) / MARKER).is_file():
        return _verify_imported(ImportedModel.open(path), runtime, model, reference, dataset)
    bundle = Bundle.open(path)
    if bundle.trimming and reference is not None:
        raise InputError(
            f"{bundle.path} has a trimmed vocabulary, and `reference` gives weights of the whole one (package compared "
            "the whole checkpoint with it); pass the checkpoint as `model`, of which the same tokens are then compared"
        )
    files = Check("files", "ok", f"{len(bundle.files) + 1} files have the manifest's sha256")
    subject = Subject(bundle, runtime)
    checks = [files, *run_all(subject)]
    if model is not None and not failed(checks):
        checks += _with_model(subject, model)
    if reference is not None and not failed(checks):
        from osparse.packager.reference.checks import with_library

        checks += with_library(subject, reference)
    require(subject, checks)
    return Verification(bundle, tuple(checks), None if dataset is None else _fit(subject, dataset))


def _verify_imported(
    imported: ImportedModel,
    runtime: Runtime,
    model: Model | Path | str | None,
    reference: Path | str | None,
    dataset: Dataset | Path | str | None,
) -> Verification:
    """Zips of another tool say nothing of the weights they must give: those need ``model`` or ``reference``."""
    from osparse.packager.imported.checks import ImportedSubject, run_checks

    if runtime != "python" or dataset is not None:
        wrong = "dataset" if dataset is not None else "runtime=djl"
        raise InputError(f"{imported.path} is an imported model, which `{wrong}` cannot check; leave it out")
    subject = ImportedSubject(imported)
    checks = run_checks(subject)
    if model is not None and not failed(checks):
        from osparse.packager.checkpoint.checkpoints import open_model
        from osparse.packager.imported.compare import with_model

        checks += with_model(subject, open_model(model))
    if reference is not None and not failed(checks):
        from osparse.packager.imported.compare import with_reference

        checks += with_reference(subject, reference)
    if failed(checks):
        raise CheckError(f"{imported.path} does not hold:\n{table(checks)}")
    return Verification(imported, tuple(checks))


def _with_model(subject: Subject, given: Model | Path | str) -> Iterable[Check]:
    """Graphs against the model; of a trimmed bundle against the model's rows of the tokens that are left."""
    from osparse.packager.checkpoint.checkpoints import open_model
    from osparse.packager.checks.runtimes import against, with_model

    model = open_model(given)
    if not subject.bundle.trimming:
        return with_model(subject, model)
    from osparse.packager.vocabulary.trim import trimmed_as

    return against(subject, trimmed_as(subject.bundle, model))


def _fit(subject: Subject, dataset: Dataset | Path | str) -> Fit:
    from osparse.packager.fit.measure import measure, open_dataset

    return measure(subject.bundle, open_dataset(dataset), subject.runners)
