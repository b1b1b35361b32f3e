"""Precision, compilation and the scaler, as far as a CPU shows them; GPUs are not measured here."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from osparse.contracts.dataset import Dataset
from osparse.errors import ConfigError
from osparse.trainer import train
from osparse.trainer.compute import precision
from osparse.trainer.config.inputs import read_inputs
from osparse.trainer.config.run_config import LoopConfig
from osparse.trainer.training import load_run

CPU = torch.device("cpu")


def encoder(yaml: Path, dataset: Dataset, *overrides: str) -> Any:
    return load_run(read_inputs(yaml, dataset, overrides)).encoder


def test_bf16_is_for_the_body_while_training_alone(yaml: Path, dataset: Dataset) -> None:
    plain, low = encoder(yaml, dataset), encoder(yaml, dataset, "loop.precision=bf16")
    ids, mask = torch.randint(5, 99, (3, 8)), torch.ones(3, 8, dtype=torch.int64)
    for model in (plain, low):
        model.eval()
    assert torch.equal(low.hidden(ids, mask), plain.hidden(ids, mask))  # what validation measures
    for model in (plain, low):
        model.mlm.eval()  # no dropout
        model.training = True
    states = low.hidden(ids, mask)
    assert states.dtype == torch.float32 and not torch.equal(states, plain.hidden(ids, mask))
    torch.testing.assert_close(states, plain.hidden(ids, mask), atol=0.1, rtol=0.1)
    weights = low(ids, mask)
    assert weights.dtype == torch.float32 and {p.dtype for p in low.parameters()} == {torch.float32}
    exact = low.decoder.weight @ states[0].T  # the head's product is not rounded to bf16
    peak = (exact + low.decoder.bias[:, None]).amax(1).relu()
    torch.testing.assert_close(weights[0], torch.log1p(peak) * low.keep, atol=1e-5, rtol=1e-5)


def test_fp16_is_refused_on_a_cpu(yaml: Path, dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        encoder(yaml, dataset, "loop.precision=fp16")


def test_scaled_steps_are_the_plain_ones_and_overflow_is_passed_over(
    yaml: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fp16's way through the loop, run on the CPU with its check left out; the scale starts at 65536."""
    monkeypatch.setattr(precision, "_check", lambda config, device: None)
    halves = train(yaml, dataset, tmp_path / "half", overrides=["loop.precision=fp16"])
    whole = train(yaml, dataset, tmp_path / "whole")
    assert halves.metrics["nonzeros"] == pytest.approx(whole.metrics["nonzeros"], rel=0.3)
    scaler = precision.LossScaler(LoopConfig(precision="fp16"), CPU)
    parameter = torch.nn.Parameter(torch.ones(2))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    before = scaler.scale
    (parameter.sum() * torch.inf).backward()
    scaler.unscale(optimiser)
    scaler.step(optimiser)
    assert parameter.tolist() == [1.0, 1.0] and scaler.scale == before / 2
    again = precision.LossScaler(LoopConfig(precision="fp16"), CPU)
    again.load_state_dict(scaler.state_dict())
    assert again.scale == before / 2
    assert (
        precision.LossScaler(LoopConfig(), CPU).scale == 1.0
        and not precision.LossScaler(LoopConfig(), CPU).can_skip_step
    )


def test_a_missing_compiler_is_said(yaml: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler(*_: Any, **__: Any) -> Any:
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", no_compiler)
    with pytest.raises(ConfigError, match=r"C\+\+ compiler.*set compile: false"):
        encoder(yaml, dataset, "loop.compile=true")


def test_compilation_is_asked_of_the_body(yaml: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(precision, "_try_compiler", lambda device: None)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **more: compiled.append((type(self).__name__, more)))
    encoder(yaml, dataset, "loop.compile=true")
    assert compiled == [("BertModel", {"dynamic": True})]


def test_a_model_without_checkpointing_is_said() -> None:
    class Mlm:
        def activation_checkpointing_enable(self, _: Any) -> None:
            raise ValueError("Mlm does not support activation checkpointing.")

    class Encoder:
        mlm = Mlm()

    config = dataclasses.replace(LoopConfig(), gradient_checkpointing=True)
    with pytest.raises(ConfigError, match="does not support"):
        precision.configure_computation(Encoder(), config, CPU)  # type: ignore[arg-type]
