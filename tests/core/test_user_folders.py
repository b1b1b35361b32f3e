"""One rule for the folders that osparse keeps in the user's home."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from osparse.deployer.cluster import profiles
from osparse.deployer.load import bundle_store
from osparse.deployer.node import node
from osparse.io.user_folders import user_folder
from osparse.packager.checks import djl


@pytest.mark.parametrize(("kind", "default"), [("cache", ".cache"), ("config", ".config"), ("data", ".local/share")])
def test_the_variable_or_the_default(
    kind: Literal["cache", "config", "data"], default: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/somebody"))
    monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", str(tmp_path))
    assert user_folder(kind) == tmp_path / "osparse"
    for ignored in ("", "relative/folder"):
        monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", ignored)
        assert user_folder(kind) == Path("/home/somebody") / default / "osparse"
    monkeypatch.delenv(f"XDG_{kind.upper()}_HOME")
    assert user_folder(kind) == Path("/home/somebody") / default / "osparse"


def test_every_part_keeps_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("cache", "config", "data"):
        monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", str(tmp_path / kind))
    assert djl.cache_folder().parent == tmp_path / "cache" / "osparse"
    assert bundle_store.cache_folder() == tmp_path / "cache" / "osparse" / "bundles"
    assert profiles.profiles_file() == tmp_path / "config" / "osparse" / "profiles.toml"
    assert node.default_home() == tmp_path / "data" / "osparse" / "node"
