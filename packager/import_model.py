"""``import``: a model that another tool registered or zipped, in a folder, with what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from osparse.contracts.imported import MARKER, ImportedModel
from osparse.io.files import atomic_directory
from osparse.packager.compare import parity
from osparse.packager.imported.describe import Description, describe, rows

__all__ = ["Import", "import_model"]


@dataclass(frozen=True)
class Import:
    """What was imported."""

    model: ImportedModel
    description: Description

    def table(self) -> str:
        """One line for each thing known of each part."""
        return parity.table(rows(self.description))


def import_model(fetch: Callable[[Path], ImportedModel], output: Path | str, *, overwrite: bool = False) -> Import:
    """Put another tool's zips into ``output`` and say what they are; nothing is left there if that fails.

    Args:
        fetch: writes the zips into the empty folder that it is given: ``osparse.deployer.from_cluster`` or
            ``osparse.packager.from_files``.
        overwrite: replace what an earlier import wrote.

    Raises:
        InputError: ``output`` exists, or what ``fetch`` is to read is not there.
        CheckError, AccessError, ClusterError: of ``fetch``.
    """
    output = Path(output)
    with atomic_directory(output, marker=MARKER, overwrite=overwrite) as folder:
        imported = fetch(folder)
        imported.save()
        description = describe(imported)
    return Import(replace(imported, path=output), description)
