"""A dataset in, a model out: inference-free sparse encoders. Importing this imports no torch.

from osparse.trainer import train
model = train("configs/quickstart.yaml", "build/deb-koen", "build/model")
"""

from __future__ import annotations

import importlib
from typing import Any

from osparse.trainer.config import TrainConfig
from osparse.trainer.planning import plan
from osparse.trainer.run import train
from osparse.trainer.runlog import run_folder

__all__ = ["SparseEncoder", "TrainConfig", "losses", "plan", "run_folder", "train"]


def __getattr__(name: str) -> Any:
    if name == "losses":
        return importlib.import_module("osparse.trainer.losses")
    if name == "SparseEncoder":
        return importlib.import_module("osparse.encoder").SparseEncoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
