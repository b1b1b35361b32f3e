"""Profiles: a cluster's address and the way in, under a name, in a file that nobody else can read.

# ~/.config/osparse/profiles.toml, mode 0600
[production]
cluster = "https://search.example:9200"
username = "loader"
password = "..."
ca_file = "/etc/ssl/search-ca.pem"
"""

from __future__ import annotations

import os
import stat
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from osparse.deployer.cluster.credentials import SECRETS, Credentials
from osparse.errors import InputError
from osparse.io.files import read_text
from osparse.io.user_folders import user_folder


@dataclass(frozen=True)
class Profile:
    """One table of the file; the secrets are in ``credentials`` and in no ``repr``."""

    credentials: Credentials | None = None
    """None: the table holds none, and the environment is asked."""
    cluster: str | None = None
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    aws_region: str | None = None
    aws_service: str | None = None


def profiles_file() -> Path:
    """``$XDG_CONFIG_HOME/osparse/profiles.toml``, or under ``~/.config``."""
    return user_folder("config") / "profiles.toml"


def read_profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        InputError: no such file or profile, a file that others can read, or a key it does not know.
    """
    path = profiles_file()
    _check_private(path)
    try:
        tables = tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise InputError(f"{path} is not TOML: {getattr(problem, 'msg', problem.__class__.__name__)}") from None
    table = tables.get(name)
    if not isinstance(table, dict):
        known = ", ".join(key for key, value in tables.items() if isinstance(value, dict))
        raise InputError(f"{path} has no profile {name!r}; it has: {known or 'none'}")
    return _profile(path, name, table)


def _profile(path: Path, name: str, table: dict[str, Any]) -> Profile:
    plain = {one.name for one in fields(Profile)} - {"credentials"}
    unknown = sorted(set(table) - plain - set(SECRETS))
    wrong = sorted(key for key, value in table.items() if not isinstance(value, str))
    if unknown or wrong:
        what = f"unknown key {unknown[0]!r}" if unknown else f"{wrong[0]} is no text"
        raise InputError(f"{path}, profile {name}: {what}; it takes {', '.join([*sorted(plain), *SECRETS])}, as texts")
    secrets = {key: table[key] for key in SECRETS if table.get(key)}
    credentials = Credentials.choose(secrets, f"{{}} of profile {name}") if secrets else None
    return Profile(credentials, **{key: value for key, value in table.items() if key in plain})


def _check_private(path: Path) -> None:
    """The file is the user's own and closed to everybody else, as ssh wants its keys."""
    try:
        found = path.stat()
    except OSError:
        raise InputError(f"there is no {path}; write one (mode 0600), or leave `profile` out") from None
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path} is not a file")
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        raise InputError(f"{path} belongs to another user; profiles are read from a file of your own only")
    if os.name == "posix" and found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise InputError(f"{path} can be read by others (mode {mode:04o}); close it: chmod 600 {path}")
