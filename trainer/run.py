"""One training run, from a configuration and a dataset to a model directory. Imports torch only when there is work."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.errors import InputError, ModelError
from osparse.plugins.extras import require
from osparse.trainer.config.inputs import read_inputs
from osparse.trainer.config.read_config import GivenPaths
from osparse.trainer.config.run_config import TrainConfig

log = logging.getLogger("osparse.trainer.run")
REQUIRED_MODULES = ("torch", "transformers", "safetensors", "sklearn", "accelerate")


@contextmanager
def main_process_logs() -> Iterator[None]:
    """Of the processes that a launcher started, the first logs notes and warnings; the others log errors only."""
    logger = logging.getLogger("osparse")
    before = logger.level
    if os.environ.get("RANK", "0") != "0":
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@main_process_logs()
def train(
    config: TrainConfig | Path | str,
    dataset: Dataset | Path | str,
    output: Path | str,
    *,
    overrides: Sequence[str] = (),
    start: Path | str | None = None,
    tokenizer: Path | str | None = None,
    idf: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_step: Callable[[str, int], None] | None = None,
) -> Model:
    """Train an inference-free sparse encoder and write it as a model directory.

    Under ``accelerate launch`` or ``torchrun`` all processes train one model; ``output`` must then lie on a file
    system that they share.

    Args:
        config: The name of a packaged configuration (``osparse configs`` lists them), a YAML file, or the
            configuration itself.
        dataset: With train and validation judgements; the test split is not used for training.
        output: Model directory to write. The run's log and checkpoints go to ``<output>.run``.
        overrides: ``key=value`` changes to the YAML, such as ``stages.ranking.lr=1e-4``; ``key=`` deletes a key.
        start: Checkpoint to start from (``encoder.start``): a Hugging Face masked-LM folder or a model directory.
        tokenizer: Folder with tokenizer.json; None: the configuration's, or that of ``start``. Unlike the command, the
            function makes none: :func:`osparse.corpus.train_tokenizer` does, and this package does not use that one.
        idf: idf.json of that tokenizer; None: the configuration's, or that of ``start``; else
            :func:`osparse.corpus.compute_idf` makes it.
        resume: Continue from the run's newest checkpoint; on one machine's CPU the result equals that of the
            uninterrupted run to the bit.
        overwrite: Replace an output that was made from other inputs.
        on_step: Called before each optimiser step with the stage's task and the number of steps it has done, in every
            process. What it raises ends the run.

    Returns:
        The model. If the output was made from the same inputs before, it is returned without training. ``metrics``
        holds the measurements of the written weights, of the start (where ``encoder.start`` or ``encoder.factory`` is
        given) and the ``alarms`` (see :mod:`osparse.trainer.loop.outcome`).

    Raises:
        ConfigError: every problem of the configuration together.
        DatasetError, ModelError: the inputs do not fit.
        CheckError: the loss became NaN or infinite; a checkpoint of the step before is kept.
        OsparseError: memory ended; a checkpoint is kept.
    """
    output = Path(output)
    inputs = read_inputs(config, dataset, overrides, GivenPaths(start=start, tokenizer=tokenizer, idf=idf))
    if output.exists() and not overwrite and not (output.is_dir() and not any(output.iterdir())):
        if made_from_these(output, inputs.name):
            finished = "; its run is finished, so there is nothing to resume" if resume else ""
            log.info("%s is up to date%s", output, finished)
            return Model.open(output)
        raise InputError(
            f"{output} exists and was not made from these inputs; set `overwrite=True` or choose another `output`"
        )
    model: Model = torch_modules().train_model(inputs, output, resume=resume, on_step=on_step)
    return model


def made_from_these(output: Path, name: str) -> bool:
    """Whether an existing output is a model that was trained from the inputs of this fingerprint."""
    try:
        return bool(Model.open(output).training.get("fingerprint") == name)
    except ModelError as problem:
        log.debug("%s", problem)
        return False


def torch_modules() -> ModuleType:
    """:mod:`osparse.trainer.training`, the part of the package that imports torch.

    Raises :class:`osparse.errors.MissingExtraError` with the pip command if a package of the extra is missing.
    """
    for module in REQUIRED_MODULES:
        require(module, "train")
    from osparse.trainer import training

    return training
