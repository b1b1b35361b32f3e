"""``osparse node``: a real OpenSearch on this machine, without Docker and without a Java of its own."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from osparse.cli.commands import _common

if TYPE_CHECKING:
    from osparse.deployer.node.state import NodeStatus

HOME = click.option(
    "--home",
    type=_common.FOLDER,
    metavar="DIR",
    help="Where the node and its data live.  [default: $XDG_DATA_HOME/osparse/node or ~/.local/share/osparse/node]",
)


EPILOG = """\b
Examples:
  osparse node up
  osparse node status
  osparse node down
"""


@click.group("node", epilog=EPILOG)
def command() -> None:
    """Run a real OpenSearch on this machine.

    Its jars are fetched once into the local Maven cache (M2_REPO or ~/.m2/repository). Java comes with pip, unless a
    full JDK 21 or later is found through JAVA_HOME or PATH. The node listens on 127.0.0.1 only and has no password.
    """


@_common.command(
    "up",
    group=command,
    examples="osparse node up\nosparse node up --home ./second --port 9211 --heap 1g",
)
@HOME
@click.option("--port", type=int, default=9210, show_default=True, help="HTTP port on 127.0.0.1; 0 for any free one.")
@click.option("--heap", default="512m", show_default=True, metavar="SIZE", help="Memory for Java, such as 512m or 2g.")
@click.option(
    "--version",
    metavar="VERSION",
    help="OpenSearch version: 3.8.0, or 3.9.0 without the modules that Maven Central lacks (ingest-common, "
    "search-pipeline-common, analysis-nori).  [default: 3.8.0]",
)
@click.option("--offline", is_flag=True, help="Fetch nothing: fail if a jar is not in the local Maven cache.")
def up(home: Path | None, port: int, heap: str, version: str | None, offline: bool) -> None:
    """Start the node and wait until it answers.

    If it runs already, prints where. Nodes with homes and ports of their own run side by side.
    """
    from osparse.deployer.node.node import node_up

    _echo(node_up(home, port, heap, offline=offline, version=version))


@_common.command(
    "logs", group=command, examples="osparse node logs\nosparse node logs --home ./node --lines 200 --previous"
)
@HOME
@click.option("--lines", type=click.IntRange(1), default=50, show_default=True, help="How many, from the end.")
@click.option("--previous", is_flag=True, help="Of the run before the last.")
def logs(home: Path | None, lines: int, previous: bool) -> None:
    """Show the end of the node's log."""
    from osparse.deployer.node.node import node_logs

    text = node_logs(home, lines, previous=previous)
    _common.echo({"log": text}, text.rstrip("\n"))


@_common.command("status", group=command, examples="osparse node status\nosparse --json node status --home ./node")
@HOME
def status(home: Path | None) -> None:
    """Show whether the node runs, where, and why not."""
    from osparse.deployer.node.node import node_status

    _echo(node_status(home))


@_common.command("down", group=command, examples="osparse node down\nosparse node down --home ./node")
@HOME
def down(home: Path | None) -> None:
    """Stop the node; its data stays. Succeeds when no node runs."""
    from osparse.deployer.node.node import node_down

    status = node_down(home)
    _common.echo(status.to_json(), f"the node in {status.home} is stopped; its data stays there")


def _echo(status: NodeStatus) -> None:
    _common.echo(status.to_json(), lambda: _text(status))


def _text(status: NodeStatus) -> str:
    if status.state == "running":
        return (
            f"OpenSearch {status.version} is running at {status.url}\n"
            f"  home {status.home}, process {status.pid}, {status.java}, started in {status.seconds:.1f} s\n"
            f"  stop it: osparse node down{_home_flag(status)}"
        )
    if status.state == "crashed":
        return (
            f"the node in {status.home} crashed: {status.error}\n"
            f"  its log: {status.log}; start it again: osparse node up{_home_flag(status)}"
        )
    if status.state == "starting":
        return f"the node in {status.home} is starting (process {status.pid}); its log: {status.log}"
    return f"no node runs in {status.home}; start it: osparse node up{_home_flag(status)}"


def _home_flag(status: NodeStatus) -> str:
    from osparse.deployer.node.node import default_home

    return "" if status.home == default_home() else f" --home {shlex.quote(str(status.home))}"
