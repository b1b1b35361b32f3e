"""One training run, from a configuration and a dataset to a model directory. Imports torch only when there is work."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.errors import InputError, ModelError
from osparse.plugins.extras import require
from osparse.trainer.config.inputs import read_inputs
from osparse.trainer.config.run_config import TrainConfig

log = logging.getLogger("osparse.trainer.run")
NEEDED = ("torch", "transformers", "safetensors", "sklearn", "accelerate")


@contextmanager
def main_process_speaks() -> Iterator[None]:
    """Of the processes that a launcher started, the first logs notes and warnings for all; the others errors alone."""
    logger = logging.getLogger("osparse")
    before = logger.level
    if os.environ.get("RANK", "0") != "0":
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@main_process_speaks()
def train(
    config: TrainConfig | Path | str,
    dataset: Dataset | Path | str,
    output: Path | str,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
) -> Model:
    """Train an inference-free sparse encoder and write it as a model directory.

    Under ``accelerate launch`` or ``torchrun`` all processes train one model; ``output`` must then lie on a file
    system that they share.

    Args:
        config: A YAML file (see configs/) or the configuration itself.
        dataset: With train and validation judgements; nothing of the test split is learnt from.
        output: Model directory to make. The run's log and checkpoints go to ``<output>.run``.
        overrides: ``key=value`` changes to the YAML, such as ``stages.ranking.lr=1e-4``.
        resume: Go on from the run's newest checkpoint; on one machine's CPU the result equals the uninterrupted run's
            to the bit.
        overwrite: Replace an output made from other inputs.

    Returns:
        The model; if the output was made from the same inputs before, that one, at once.

    Raises:
        ConfigError: every problem of the configuration together.
        DatasetError, ModelError: the inputs do not fit.
        CheckError: the loss became NaN or infinite; a checkpoint of the step before is kept.
        OsparseError: memory ended; a checkpoint is kept.
    """
    output = Path(output)
    inputs = read_inputs(config, dataset, overrides)
    if output.exists() and not overwrite and not (output.is_dir() and not any(output.iterdir())):
        if made_from_these(output, inputs.name):
            finished = "; its run is finished, so there is nothing to resume" if resume else ""
            log.info("%s is up to date%s", output, finished)
            return Model.open(output)
        raise InputError(f"{output} exists and was not made from these inputs; pass --overwrite or another --output")
    require_torch()
    from osparse.trainer.training import train_model  # imports torch

    return train_model(inputs, output, resume=resume)


def require_torch() -> None:
    """Raises :class:`osparse.errors.MissingExtraError` with the pip command if a package of the extra is missing."""
    for module in NEEDED:
        require(module, "train")


def made_from_these(output: Path, name: str) -> bool:
    """Whether an existing output is a model that was trained from the inputs of this fingerprint."""
    try:
        return bool(Model.open(output).training.get("fingerprint") == name)
    except ModelError as problem:
        log.debug("%s", problem)
        return False
