"""The options every command that talks to a cluster shares."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from osparse.deployer import Cluster


def cluster_options(function: Callable[..., Any] | None = None, *, required: bool = True) -> Callable[..., Any]:
    """Adds --cluster, --ca-file and --insecure; the function is called with ``cluster``, opened, or None."""

    def decorate(wrapped: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(wrapped)
        def run(cluster: str | None, ca_file: Path | None, insecure: bool, **arguments: Any) -> Any:
            return wrapped(cluster=_open(cluster, ca_file, insecure), **arguments)

        for option in (
            click.option("--insecure", is_flag=True, help="Do not check the cluster's certificate."),
            click.option("--ca-file", type=click.Path(path_type=Path), help="PEM file to check its certificate with."),
            click.option(
                "--cluster",
                metavar="URL",
                required=required,
                help="The cluster; credentials come from OSPARSE_USERNAME and OSPARSE_PASSWORD, OSPARSE_API_KEY or "
                "OSPARSE_BEARER.",
            ),
        ):
            run = option(run)
        return run

    return decorate if function is None else decorate(function)


def _open(url: str | None, ca_file: Path | None, insecure: bool) -> Cluster | None:
    if url is None:
        return None
    from osparse.deployer import open_cluster

    return open_cluster(url, ca_file=ca_file, insecure=insecure)
