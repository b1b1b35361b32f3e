"""Settings that another library saved with a model: each key is obeyed, refused by name, or known to change nothing.

The rows are in osparse.packager.checkpoint.saved_settings_table; docs/bundle.md shows the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from osparse.errors import InputError, ModelError
from osparse.io.files import read_json

Treatment = Literal["baked in", "refused", "without effect"]


def anything(value: Any) -> bool:
    """Accepts every value."""
    return True


@dataclass(frozen=True)
class Setting:
    """One key of one file that a library saves with a model."""

    file: str
    """Name of the file, as the table calls it."""
    key: str
    """``*`` stands for any characters."""
    becomes: Treatment
    """A ``refused`` setting is refused only with a value that ``accepts`` does not take."""
    why: str
    """Where the value goes, why it is refused and what to do instead, or why it changes nothing."""
    accepts: Callable[[Any], bool] = anything
    requires: str = ""
    """What ``accepts`` takes, in words."""


@dataclass
class SettingsReader:
    """Reads the files of one model, and holds every key to the table."""

    table: Collection[Setting]
    ignore: Collection[str] = ()
    """Keys that are left unread although the table does not have them."""
    ignored: set[str] = field(default_factory=set)
    """Those of ``ignore`` that a file had."""

    def read(self, path: Path, file: str | None = None) -> dict[str, Any]:
        """The settings of a JSON file, {} if there is none; ``file`` is its name in the table.

        Raises :class:`ModelError` for a key that is not in the table, and for a value that cannot be obeyed.
        """
        if not path.is_file():
            return {}
        raw = read_json(path, ModelError)
        if not isinstance(raw, dict):
            raise ModelError(f"{path} must be a JSON object of settings; save the model again")
        return self.check(raw, path, file or path.name)

    def check(self, raw: Mapping[str, Any], path: Path, file: str) -> dict[str, Any]:
        """The settings without those that are ignored; raises as :meth:`read` does."""
        rows = [row for row in self.table if row.file == file]
        for key, value in raw.items():
            row = next((row for row in rows if fnmatchcase(key, row.key)), None)
            if row is None:
                self._unknown(path, key)
            elif not row.accepts(value):
                raise ModelError(
                    f"{path}: {key} is {_short(value)}, required is {row.requires}: {row.why} (docs/bundle.md)"
                )
        return {key: value for key, value in raw.items() if key not in self.ignored}

    def require_all_ignored(self) -> None:
        """Raises :class:`InputError` for a key to ignore that no file has as an unknown one."""
        unused = sorted(set(self.ignore) - self.ignored)
        if unused:
            raise InputError(f"ignore {', '.join(unused)}: no file of the model has it as an unknown key; leave it out")

    def _unknown(self, path: Path, key: str) -> None:
        if key not in self.ignore:
            raise ModelError(
                f"{path}: the setting {key!r} is not known to osparse, so it cannot be obeyed; remove it, or ignore "
                f"it if it changes no vector with `ignore={key}`"
            )
        self.ignored.add(key)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
