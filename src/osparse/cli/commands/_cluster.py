"""The options every command that talks to a cluster shares."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from osparse.cli.parameter_names import with_flags
from osparse.errors import InputError

if TYPE_CHECKING:
    from osparse.deployer import Cluster
    from osparse.deployer.cluster.credentials import Credentials
    from osparse.deployer.cluster.profiles import Profile

_FILE = click.Path(path_type=Path)
_OPTIONS = (
    click.option("--insecure", is_flag=True, help="Do not check the cluster's certificate; warns each time."),
    click.option("--aws-service", type=click.Choice(["es", "aoss"]), help="es: a managed domain; aoss: Serverless."),
    click.option("--aws-region", metavar="REGION", help="Sign requests for AWS (Signature Version 4; extra aws)."),
    click.option("--client-key", type=_FILE, metavar="FILE", help="PEM key of --client-cert, if not in its file."),
    click.option("--client-cert", type=_FILE, metavar="FILE", help="PEM certificate to show the cluster."),
    click.option("--ca-file", type=_FILE, metavar="FILE", help="PEM file to check the cluster's certificate with."),
    click.option("--ask", is_flag=True, help="Ask for user name and password on the terminal."),
    click.option(
        "--profile",
        metavar="NAME",
        envvar="OSPARSE_PROFILE",
        help="Address and credentials from ~/.config/osparse/profiles.toml (mode 0600).",
    ),
    click.option(
        "--cluster",
        metavar="URL",
        help="The cluster; credentials come from OSPARSE_USERNAME and OSPARSE_PASSWORD, OSPARSE_API_KEY or "
        "OSPARSE_BEARER.",
    ),
)


@dataclass(frozen=True)
class _Given:
    """The options as they were given."""

    cluster: str | None
    profile: str | None
    ask: bool
    ca_file: Path | None
    client_cert: Path | None
    client_key: Path | None
    aws_region: str | None
    aws_service: str | None
    insecure: bool


def cluster_options(function: Callable[..., Any] | None = None, *, required: bool = True) -> Callable[..., Any]:
    """Adds --cluster and the ways in; the function is called with ``cluster``, opened, or None."""

    def decorate(wrapped: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(wrapped)
        def run(**arguments: Any) -> Any:
            given = _Given(**{name: arguments.pop(name) for name in _Given.__dataclass_fields__})
            if not required and given.cluster is None and _from_environment("profile"):
                given = replace(given, profile=None)  # set for every command, not asked for in this one
            cluster = _open(given)
            if cluster is None and required:
                raise click.UsageError("Missing option '--cluster': the cluster's URL, or a --profile that has one")
            with nullcontext() if cluster is None else cluster:
                return wrapped(cluster=cluster, **arguments)

        for option in _OPTIONS:
            run = option(run)
        return run

    return decorate if function is None else decorate(function)


def with_own_flags(result: object) -> str:
    """A result in words, with the parameters that it names as the flags of the command that runs."""
    return with_flags(str(result), click.get_current_context().command.params)


def _from_environment(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) == ParameterSource.ENVIRONMENT


def _open(given: _Given) -> Cluster | None:
    if given.cluster is None and given.profile is None:
        return None
    from osparse.deployer import open_cluster
    from osparse.deployer.cluster.profiles import Profile, read_profile

    profile = read_profile(given.profile) if given.profile is not None else Profile()
    url = given.cluster or profile.cluster
    if url is None:
        raise InputError(f"profile {given.profile} names no cluster; add one to it, or give --cluster URL")
    if profile.cluster is not None and url.rstrip("/") != profile.cluster.rstrip("/") and _from_environment("profile"):
        raise InputError(
            f"OSPARSE_PROFILE names profile {given.profile}, which is for {profile.cluster}: its credentials are not "
            "sent to another address unasked; unset the variable, or give --profile too"
        )
    return open_cluster(
        url,
        credentials=_credentials(given, profile),
        ca_file=given.ca_file or _path(profile.ca_file),
        client_cert=given.client_cert or _path(profile.client_cert),
        client_key=given.client_key or _path(profile.client_key),
        insecure=given.insecure,
    )


def other_cluster(url: str | None, name: str | None) -> Cluster | None:
    """A second cluster: with the credentials of a profile and no others; None where neither is given."""
    if url is None and name is None:
        return None
    from osparse.deployer import open_cluster
    from osparse.deployer.cluster.credentials import Credentials
    from osparse.deployer.cluster.profiles import Profile, read_profile

    profile = read_profile(name) if name is not None else Profile()
    address = url or profile.cluster
    if address is None:
        raise InputError(f"profile {name} names no cluster; add one to it, or give the address before the # of --from")
    credentials = profile.credentials or Credentials("none")
    if profile.aws_region is not None:
        credentials = Credentials.aws(profile.aws_region, profile.aws_service or "es")
    return open_cluster(
        address,
        credentials=credentials,
        ca_file=_path(profile.ca_file),
        client_cert=_path(profile.client_cert),
        client_key=_path(profile.client_key),
    )


def _credentials(given: _Given, profile: Profile) -> Credentials:
    """The one way in; raises :class:`InputError` where two are given."""
    from osparse.deployer.cluster.credentials import Credentials

    environment = Credentials.from_environment()
    region = given.aws_region or profile.aws_region
    service = given.aws_service or profile.aws_service
    if service is not None and region is None:
        raise InputError("--aws-service goes with --aws-region; give the region too")
    ways = {
        "the environment": environment.kind != "none",
        f"profile {given.profile}": profile.credentials is not None,
        "--ask": given.ask,
        "--aws-region": region is not None,
    }
    used = [way for way, there in ways.items() if there]
    if len(used) > 1:
        raise InputError(f"credentials come from {' and from '.join(used)}; keep one")
    if region is not None:
        return Credentials.aws(region, service or "es")
    if given.ask:
        return _asked()
    return profile.credentials or environment


def _asked() -> Credentials:
    from osparse.deployer.cluster.credentials import Credentials

    if not sys.stdin.isatty():
        raise InputError("--ask needs a terminal; set OSPARSE_USERNAME and OSPARSE_PASSWORD in the environment instead")
    found = {
        "username": click.prompt("User name", err=True),
        "password": click.prompt("Password", err=True, hide_input=True),
    }
    return Credentials.choose(found)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text).expanduser()
