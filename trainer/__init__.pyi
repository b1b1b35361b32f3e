from . import losses
from .config.run_config import TrainConfig
from .dry_run import plan
from .report.run_log import run_folder
from .run import train

__all__ = [
    "TrainConfig",
    "losses",
    "plan",
    "run_folder",
    "train",
]
