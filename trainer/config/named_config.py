"""Configurations by name: those packaged with osparse, listed by ``osparse configs``, and files of the user's own."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from osparse.errors import ConfigError

SUFFIX = ".yaml"


def packaged_configs() -> dict[str, str]:
    """Name -> what it is for: the first line of the file, which is a comment. Sorted by name."""
    return {path.stem: _first_line(path) for path in sorted(_folder().glob(f"*{SUFFIX}"))}


def config_file(config: Path | str) -> Path:
    """The file of a configuration, given by its path or by the name of a packaged one; a file of that name comes first.

    Raises :class:`ConfigError` naming the packaged ones if there is neither.
    """
    path = Path(config)
    if path.is_file():
        return path
    packaged = _folder() / f"{path.name}{SUFFIX}"
    if path.name == str(config) and packaged.is_file():
        return packaged
    names = packaged_configs()
    hint = f"; did you mean the packaged configuration {path.stem}?" if path.stem in names else ""
    known = f"there is no such file, and the packaged configurations are {', '.join(names)} (see osparse configs)"
    raise ConfigError(str(config), [f"{known}{hint}"])


def _folder() -> Path:
    return Path(str(resources.files("osparse.configs")))


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().lstrip("#").strip()
