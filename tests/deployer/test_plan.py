"""Steps hand on what they found or made; nothing else passes between them, and inspection changes nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import pytest
from mlcommons_server import MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.deployer import ModelOptions, Upgrade, deploy
from osparse.deployer.operate import deploy as deploy_module
from osparse.deployer.operate.survey import read_survey
from osparse.deployer.plan import Finding, Made, Step, apply_all, inspect_all

from .conftest import client


@dataclass(frozen=True)
class _Maker:
    key: str
    existing: str | None
    new: str
    takes = ()

    def inspect(self, made: Made) -> Finding:
        existing = Made({self.key: self.existing}) if self.existing else Made()
        return Finding("change" if self.existing else "create", self.key, "", existing)

    def apply(self, made: Made) -> Made:
        return Made({self.key: self.new}, notes=(f"made {self.new}",))


@dataclass(frozen=True)
class _Taker:
    stored: str
    takes: tuple[str, ...] = ("a",)
    inspected: list[str | None] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)

    def inspect(self, made: Made) -> Finding:
        self.inspected.append(made.ids.get("a"))
        return Finding("keep" if made.ids.get("a") == self.stored else "change", "taker", "")

    def apply(self, made: Made) -> Made:
        self.applied.append(made.ids["a"])
        return Made()


def test_a_step_is_inspected_again_only_where_an_id_that_it_takes_was_made_anew() -> None:
    same, other, untouched = _Taker("old"), _Taker("old"), _Taker("old", takes=("b",))
    steps: list[Step] = [_Maker("a", "old", "old"), same]
    findings, made = apply_all(steps, inspect_all(steps))
    assert same.inspected == ["old"] and not same.applied and [f.action for f in findings] == ["change", "keep"]
    steps = [_Maker("a", "old", "new"), other, untouched]
    findings, made = apply_all(steps, inspect_all(steps))
    assert other.inspected == ["old", "new"] and other.applied == ["new"], "it named the id that is gone"
    assert untouched.inspected == ["old"] and [f.action for f in findings] == ["change", "change", "keep"]
    assert made.ids == {"a": "new"} and made.notes == ("made new",)


def test_inspection_changes_no_step(server: MLCommonsServer, small_bundle: Bundle, other_bundle: Bundle) -> None:
    deploy(small_bundle, client(server), "products")
    survey = read_survey(other_bundle, client(server), "products", "auto", {"hybrid": "rrf"})
    steps = [
        *deploy_module._serving_steps(survey, ModelOptions()),
        *deploy_module._switch_steps(survey, Upgrade()),
        *deploy_module._hybrid_steps(survey, Upgrade()),
    ]
    before = [repr(step) for step in steps]
    inspect_all(steps)
    assert [repr(step) for step in steps] == before and len(steps) == 11
    for step in steps:
        with pytest.raises(dataclasses.FrozenInstanceError):
            step.takes = ()  # type: ignore[misc]
