"""Every error osparse raises on purpose, and the exit code the command line gives it.

OsparseError
├── InputError            exit 2   what the user gave cannot be used
│   ├── ConfigError                a run's configuration, all its errors together
│   ├── DatasetError               a dataset directory, or a source it is built from
│   ├── ModelError                 a model directory
│   ├── BundleError                a bundle directory, or a zip in it
│   └── MissingExtraError          a part of osparse that is not installed
├── CheckError            exit 3   a check did not hold: parity, probes, a gate
├── ClusterError          exit 1   the cluster refused, failed, or is not as needed
│   ├── ClusterUnreachableError
│   ├── AccessError                401, 403
│   ├── ClusterBusyError           429 or 503 after every retry
│   ├── MissingPluginError
│   └── DeploymentConflictError    the index exists and was made by another bundle
└── NodeError             exit 1   the embedded OpenSearch node

    try:
        osparse.deployer.deploy(bundle, cluster, index="products")
    except osparse.errors.OsparseError as error:
        log.error("%s", error)

A message holds three things: what was found, what is required, what to do next. It names a parameter of a function in
backticks, with the value to pass where there is one: "pass `overwrite=True` to replace it"; the command line shows the
flag in its place (osparse.cli.parameter_names).
"""

from __future__ import annotations

from collections.abc import Sequence


class OsparseError(Exception):
    """Anything osparse reports to its user; ``str(error)`` is the whole message."""

    exit_code = 1


class InputError(OsparseError):
    """What the user gave cannot be used."""

    exit_code = 2


class ConfigError(InputError):
    """A configuration is wrong; holds every problem found, not only the first."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source, self.problems = source, list(problems)
        lines = [f"{source}: {len(self.problems)} problem(s)", *(f"  - {p}" for p in self.problems)]
        super().__init__("\n".join(lines))


class DatasetError(InputError):
    """A dataset directory, or a source it is built from, cannot be used."""


class ModelError(InputError):
    """A model directory cannot be used."""


class BundleError(InputError):
    """A bundle directory, or a zip in it, cannot be used."""


class MissingExtraError(InputError):
    """A command needs a part of osparse that is not installed."""


class CheckError(OsparseError):
    """A check that osparse makes before it goes on did not hold."""

    exit_code = 3


class ClusterError(OsparseError):
    """The cluster refused, failed, or is not as it must be."""


class ClusterUnreachableError(ClusterError):
    """No answer from the cluster's address."""


class AccessError(ClusterError):
    """The cluster answered 401 or 403."""


class ClusterBusyError(ClusterError):
    """The cluster answered 429 or 503 until the last retry."""


class MissingPluginError(ClusterError):
    """The cluster lacks a plugin that the asked mode needs."""


class DeploymentConflictError(ClusterError):
    """The name asked for is taken by something made from another bundle."""


class NodeError(OsparseError):
    """The embedded OpenSearch node could not do what was asked."""
