"""Several training processes on this machine: what torchrun does, without its traceback when it is interrupted."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from osparse.plugins.extras import require


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Run ``osparse ARGUMENTS`` in so many processes and return the exit code of the first that failed, else 0.

    Raises :class:`KeyboardInterrupt` if it is interrupted, once the processes have ended.
    """
    require("torch", "train")
    run: Callable[[list[str]], Any] = importlib.import_module("torch.distributed.run").main
    elastic = importlib.import_module("torch.distributed.elastic.multiprocessing")
    try:
        run(["--standalone", "--nproc-per-node", str(processes), "-m", "osparse", *arguments])
    except elastic.SignalException:
        raise KeyboardInterrupt from None
    except elastic.errors.ChildFailedError as error:
        _, failure = error.get_first_failure()
        return int(failure.exitcode) if int(failure.exitcode) > 0 else 1
    return 0
