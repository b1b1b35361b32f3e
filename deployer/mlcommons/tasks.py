"""Deploy a registered model and wait for the server: its task, its state, its first answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace

from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.client import Answer
from osparse.deployer.mlcommons import failures
from osparse.deployer.mlcommons.api import MLCommons, ServerModel, Task
from osparse.deployer.mlcommons.remote_calls import RemoteCalls
from osparse.errors import ClusterError
from osparse.io.progress import progress

log = logging.getLogger("osparse.deployer.mlcommons.tasks")

TASK_SECONDS = 900.0
"""The server's own limit is 600."""
FIRST_WAIT, LONGEST_WAIT = 0.05, 1.0
"""Seconds between two polls of a task or a state; each wait is half as long again as the one before."""
MODEL_SECONDS = 3.0
"""Of a task that runs on; then the model itself is looked at too."""
FAILED_SECONDS = 60.0
"""How long a model must read DEPLOY_FAILED before its running task is given up.

After a start the node deploys models again by itself; where that meets a deploy under way, only the second one fails,
and the model reads DEPLOY_FAILED until the first one ends.
"""
_UNSAID = {"": "the model is DEPLOY_FAILED and its task gives no reason; the log of the nodes has it"}
SETTLE_SECONDS = 30.0
"""For a state that follows a finished call within moments."""


def node_names(ml: MLCommons) -> dict[str, str]:
    """Node id -> name."""
    return {key: str(node.get("name")) for key, node in ClusterApi(ml.cluster).nodes().items()}


def deploy_once(ml: MLCommons, model: ServerModel) -> dict[str, str]:
    """Deploy a registered model; node -> reason of a failure, empty if it went well on one node at least."""
    answer = ml.deploy_model(model.id)
    if answer.status != 200:
        return {"": answer.reason}
    if answer.body.get("status") == "COMPLETED":
        return {}  # of a remote model, at once
    task = finished(ml, str(answer.body["task_id"]), f"deploy {model.name}", model)
    if task.state == "COMPLETED_WITH_ERROR":
        log.warning("%s", failures.failure_text(f"{model.name} (on some nodes)", task.errors, node_names(ml)))
        return {}
    return {} if task.state == "COMPLETED" else task.errors or {"": f"the task ended {task.state} without a reason"}


def finished(ml: MLCommons, task_id: str, what: str, model: ServerModel | None = None) -> Task:
    """The task once it has ended, or once its model has failed for good: the server can let such a task run on.

    Raises:
        ClusterError: it runs longer than :data:`TASK_SECONDS`.
    """
    started = time.monotonic()
    failed_at: float | None = None
    with progress(what, unit="seconds") as bar:
        for last in poll(TASK_SECONDS):
            task = ml.get_task(task_id)
            seconds = time.monotonic() - started
            bar.advance(int(seconds) - bar.done, note=task.state)
            if task.done or last:
                break
            if model is None or seconds <= MODEL_SECONDS or not _failed_meanwhile(ml, model):
                failed_at = None
                continue
            failed_at = seconds if failed_at is None else failed_at
            if seconds - failed_at >= FAILED_SECONDS:
                task = ml.get_task(task_id)  # its reason may have come just now
                return task if task.done else replace(task, state="FAILED", errors=_UNSAID)
    if not task.done:
        raise ClusterError(
            f"{what} is still {task.state} after {TASK_SECONDS:.0f} s (task {task_id}); look into the server's "
            "log, then run osparse deploy again"
        )
    return task


def _failed_meanwhile(ml: MLCommons, model: ServerModel) -> bool:
    found = ml.get_model(model.id)
    return model.state != "DEPLOY_FAILED" and found is not None and found.state == "DEPLOY_FAILED"


def first_answer(ml: MLCommons, model: ServerModel) -> Answer:
    """Of a prediction, local or remote."""
    texts = ["osparse"]
    return RemoteCalls(ml.cluster).try_predict(model.id, texts) if model.remote else ml.try_predict(model.id, texts)


def answers(answer: Answer) -> bool:
    """Whether a prediction went well; a remote answer that was cut off is 200 with an error."""
    return answer.status == 200 and "error" not in answer.body


def await_answer(ml: MLCommons, model: ServerModel) -> None:
    """Return once a predict works; raises :class:`ClusterError` if none does within :data:`SETTLE_SECONDS`."""
    for last in poll(SETTLE_SECONDS):
        answer = first_answer(ml, model)
        if answers(answer):
            return
        if last:
            raise ClusterError(
                failures.with_remedy(f"model {model.name} is deployed but does not answer: {answer.reason}")
            )


def poll(seconds: float) -> Iterator[bool]:
    """Yield False before each poll, with waits between them, and True once ``seconds`` have passed."""
    until, wait = time.monotonic() + seconds, FIRST_WAIT
    while time.monotonic() <= until:
        yield False
        time.sleep(wait)
        wait = min(wait * 1.5, LONGEST_WAIT)
    yield True
