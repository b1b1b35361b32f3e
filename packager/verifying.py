"""``verify``: a bundle is checked again, alone, wherever it is: hashes, zips, tokenizer, IDF, and three rings.

The ONNX encoder runs everywhere (no torch needed); the TorchScript one where torch is installed; both run in the
server's own runtime with ``runtime="djl"``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from osparse.bundle import Bundle
from osparse.errors import CheckError, InputError
from osparse.packager.checks import RUNTIMES, Check, Runtime, Subject, run_all, table
from osparse.packager.formats import open_runners

__all__ = ["Check", "Verification", "open_runners", "verify"]


@dataclass(frozen=True)
class Verification:
    """What was checked in a bundle; every outcome is ``ok`` or ``not run``."""

    bundle: Bundle
    checks: tuple[Check, ...]

    def table(self) -> str:
        return table(self.checks)


def verify(path: Path | str, *, runtime: Runtime = "python") -> Verification:
    """Check a bundle without its model.

    Args:
        runtime: ``djl`` runs its zips in DJL 0.31.1 with libtorch 2.5.1 and ONNX Runtime 1.16.3 too: jars from Maven
            Central, fetched once (222 MB), in a child process.

    Raises:
        InputError: an unknown runtime, or one that this machine cannot run.
        BundleError: it is not a whole bundle, or a zip is unsafe.
        CheckError: something in it does not hold; the message is the whole table.
        NodeError: the server's runtime could not be fetched or started.
    """
    if runtime not in RUNTIMES:
        raise InputError(f"--runtime {runtime}: choose from {', '.join(RUNTIMES)}")
    bundle = Bundle.open(path)
    files = Check("files", "ok", f"{len(bundle.files) + 1} files have the manifest's sha256")
    checks = [files, *run_all(Subject(bundle, runtime))]
    if any(check.outcome == "failed" for check in checks):
        raise CheckError(f"{bundle.path} does not hold:\n{table(checks)}\nmake it again with: osparse package")
    return Verification(bundle, tuple(checks))
