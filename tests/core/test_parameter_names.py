"""Messages of the library, as a command shows them."""

from __future__ import annotations

import click
import pytest

from osparse.cli.parameter_names import with_flags

PARAMETERS = [
    click.Argument(["bundle"]),
    click.Option(["--overwrite"], is_flag=True),
    click.Option(["--two-phase/--no-two-phase"], default=None),
    click.Option(["--keep"], type=int),
    click.Option(["--dataset", "gate_dataset"]),
]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("pass `overwrite=True` to replace it", "pass --overwrite to replace it"),
        ("`keep` must be at least 0, got -1", "--keep must be at least 0, got -1"),
        ("pass `keep=2`", "pass --keep 2"),
        ("pass `two_phase=False`", "pass --no-two-phase"),
        ("`bundle` is no bundle", "BUNDLE is no bundle"),
        ("give `gate_dataset` too", "give --dataset too"),
        ("`unknown` and `SELECT 1` stay", "`unknown` and `SELECT 1` stay"),
    ],
)
def test_a_parameter_becomes_the_flag_of_the_command(message: str, shown: str) -> None:
    assert with_flags(message, PARAMETERS) == shown
