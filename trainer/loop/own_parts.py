"""A loss and an encoder of the user's own, each called once on a toy batch before any work is done."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from osparse.errors import ConfigError, OsparseError
from osparse.formula.lexicon import Lexicon
from osparse.plugins.dotted_paths import load_dotted
from osparse.trainer.config.run_config import Ranking, TrainConfig

LOSS_ARGUMENTS = "(scores, target, *, temperature, candidates, weight)"
FACTORY_ARGUMENTS = "(lexicon, config)"
TOY_IDS = 6
"""Token ids of each of the toy batch's two documents."""


def check_own_parts(config: TrainConfig, lexicon: Lexicon) -> None:
    """Call each function of the user's once, and raise :class:`ConfigError` with everything that is wrong.

    The random state stays as it was.
    """
    problems = []
    with torch.random.fork_rng():
        for number, stage in enumerate(config.stages):
            if isinstance(stage, Ranking) and stage.loss is not None:
                where = f"stages.{number}.loss"
                function = load_dotted(stage.loss, where)
                problems += [f"{where}: {stage.loss} {text}" for text in loss_problems(function, stage.temperature)]
        factory = config.encoder.factory
        if factory is not None:
            function = load_dotted(factory, "encoder.factory")
            problems += [f"encoder.factory: {factory} {text}" for text in factory_problems(function, lexicon, config)]
    if problems:
        raise ConfigError("functions of your own", problems)


def loss_problems(function: Callable[..., Any], temperature: float) -> list[str]:
    """What is wrong with a contrastive loss, each as a clause that follows its name.

    It is called with scores (3, 4) whose positives are ranked last, so that a loss has something to correct.
    """
    scores = torch.tensor([[1.0, 3.0, 2.0, 4.0], [3.0, 1.0, 4.0, 2.0], [2.0, 4.0, 1.0, 3.0]], requires_grad=True)
    batch = {
        "temperature": temperature,
        "candidates": torch.tensor([[True, True, True, True], [True, True, True, False], [True, True, True, True]]),
        "weight": torch.tensor([1.0, 1.0, 0.5]),
    }
    target = torch.tensor([0, 1, 2])
    wrong = _unfit_arguments(function, LOSS_ARGUMENTS, scores, target, **batch)
    if wrong:
        return [wrong]
    try:
        value = function(scores, target, **batch)
        return list(_value_problems(value, scores))
    except OsparseError as error:
        return [str(error)]
    except Exception as error:  # noqa: BLE001 - code of the user's may raise anything; the message names it
        return [f"failed on a toy batch of 3 queries and 4 documents: {told(error)}"]


def _value_problems(value: Any, scores: Tensor) -> Iterator[str]:
    if not isinstance(value, Tensor):
        yield f"must return a scalar tensor, got {type(value).__name__}"
    elif value.dim():
        yield f"must return a scalar tensor, got one of shape {tuple(value.shape)}; take its mean or sum"
    elif not value.isfinite():
        yield f"returned {float(value.detach())} on a toy batch of finite scores; it must be finite"
    elif not value.requires_grad:
        yield "returned a tensor without a gradient; compute it from the scores without detach, item or numpy"
    else:
        (gradient,) = torch.autograd.grad(value, [scores], allow_unused=True)
        if gradient is None or not gradient.any():
            yield "has no gradient with respect to the scores, though every positive of the toy batch is ranked last"
        elif not gradient.isfinite().all():
            yield "has a gradient that is not finite on a toy batch of finite scores"


def factory_problems(function: Callable[..., Any], lexicon: Lexicon, config: TrainConfig) -> list[str]:
    """What is wrong with an encoder's factory, each as a clause that follows its name; makes the network once."""
    wrong = _unfit_arguments(function, FACTORY_ARGUMENTS, lexicon, config)
    if wrong:
        return [wrong]
    try:
        mlm: Any = function(lexicon, config)
        lacking = [name for name in ("config", "get_output_embeddings", "save_pretrained") if not hasattr(mlm, name)]
        if not isinstance(mlm, nn.Module) or lacking:
            return [f"must return a transformers masked-LM, got {type(mlm).__name__}"]
        network: Any = mlm  # mypy takes an nn.Module's methods for tensors
        rows, tokens = network.get_output_embeddings().weight.shape[0], len(lexicon.tokens)
        if rows < tokens:
            return [f"gives {rows} vocabulary rows, the tokenizer has {tokens} tokens; use len(lexicon.tokens)"]
        ids = torch.arange(TOY_IDS).expand(2, -1) % tokens
        logits = mlm(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        return list(_logits_problems(logits, mlm))
    except Exception as error:  # noqa: BLE001 - code of the user's may raise anything; the message names it
        return [f"failed on a toy batch of 2 documents of {TOY_IDS} tokens: {told(error)}"]


def _logits_problems(logits: Tensor, mlm: nn.Module) -> Iterator[str]:
    if logits.dim() != 3 or tuple(logits.shape[:2]) != (2, TOY_IDS):
        shape = tuple(logits.shape)
        yield f"must give logits of shape (2, {TOY_IDS}, V) for ids of shape (2, {TOY_IDS}), got {shape}"
    elif not logits.isfinite().all():
        yield "gives logits that are not finite"
    else:
        trained = [parameter for parameter in mlm.parameters() if parameter.requires_grad]
        if not trained or not logits.requires_grad:
            yield "has no parameter with a gradient, so nothing could be trained"


def named_errors(function: Callable[..., Tensor], path: str) -> Callable[..., Tensor]:
    """``function`` whose errors name ``path``; an error of osparse's passes as it is."""

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Tensor:
        try:
            return function(*arguments, **named)
        except (OsparseError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise ConfigError(path, [f"failed in a training step: {told(error)}"]) from error

    return call


def told(error: Exception) -> str:
    """The error with the file and line of the user's code, where the traceback has one."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename and frame.filename != __file__]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{place}"


def _unfit_arguments(function: Callable[..., Any], expected: str, *arguments: Any, **named: Any) -> str:
    """A clause if ``function`` cannot be called so; empty if it can, or if its signature is not known."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(*arguments, **named)
    except TypeError as problem:
        return f"must take {expected}, got {signature}: {problem}"
    return ""
