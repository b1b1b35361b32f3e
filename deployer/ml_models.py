"""The steps that bring a bundle's models into ML Commons: group, then each model registered, deployed and proved.

A model is found by its name, in whatever state an earlier run left it, and the work goes on from there. A model reads
REGISTERED as soon as its last chunk is in, whatever else is missing: so the last chunk is sent last.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Literal

from osparse.bundle import Bundle, BundleFile
from osparse.deployer import ml_failures, names
from osparse.deployer.cluster_api import ClusterApi
from osparse.deployer.ml_commons import CHUNK, MLCommons, Model, Task
from osparse.deployer.plan import Finding
from osparse.deployer.proof import prove
from osparse.errors import ClusterBusyError, ClusterError, ClusterUnreachableError, DeploymentConflictError
from osparse.progress import progress

log = logging.getLogger("osparse.deployer.ml_models")

ANSWERING = ("DEPLOYED", "PARTIALLY_DEPLOYED")
_ORDER = (*ANSWERING, "DEPLOYING", "REGISTERED", "UNDEPLOYED", "DEPLOY_FAILED", "REGISTERING")
"""Which of several models of one name is kept: the furthest along."""
TASK_SECONDS = 900.0
"""The server's own limit is 600."""
FIRST_WAIT, LONGEST_WAIT = 0.05, 1.0
"""Seconds between two looks at a task or a state; each wait is half as long again as the one before."""
SETTLE_SECONDS = 30.0
"""For a state that follows a finished call within moments."""


@dataclass
class ModelGroup:
    """Step: the bundle's model group exists."""

    ml: MLCommons
    bundle: Bundle
    id: str | None = None

    def inspect(self) -> Finding:
        self.id = self.ml.find_group(names.model_group(self.bundle))
        what = f"model group {names.model_group(self.bundle)}"
        return Finding("keep", what, "exists") if self.id else Finding("create", what, "there is none of that name")

    def apply(self) -> None:
        answer = self.ml.register_group(names.model_group(self.bundle))
        taken = re.search(r"model group with ID: ([^\s.]+)", answer.reason) if answer.status == 400 else None
        if answer.status == 400 and taken is None:
            raise ClusterError(f"the model group {names.model_group(self.bundle)} was refused: {answer.reason}")
        self.id = taken[1] if taken else str(answer.body["model_group_id"])


@dataclass
class ServedModel:
    """Step: the encoder or the tokenizer is registered once, deployed, and answers with the proved weights."""

    ml: MLCommons
    bundle: Bundle
    part: Literal["encoder", "tokenizer"]
    group: ModelGroup
    via_url: str | None = None
    """The cluster fetches the zip from under this address; None: it is sent in chunks."""
    id: str | None = None
    _duplicates: list[Model] = field(default_factory=list)

    @property
    def name(self) -> str:
        return names.encoder_model(self.bundle) if self.part == "encoder" else names.tokenizer_model(self.bundle)

    @property
    def key(self) -> str:
        """Of the bundle's file: TorchScript is what ML Commons runs longest, ONNX where there is no other."""
        return "tokenizer" if self.part == "tokenizer" else self.bundle.formats[0]

    @property
    def file(self) -> BundleFile:
        return self.bundle.files[self.key]

    def inspect(self) -> Finding:
        """Raises :class:`DeploymentConflictError` for a foreign model of that name, CheckError for wrong weights."""
        what = f"model {self.name} ({self.file.function_name}, {self.file.model_format}, {self.file.size / 1e6:.1f} MB)"
        model = self._find()
        if model is None:
            return Finding("create", what, "there is none of that name")
        if self._duplicates:
            return Finding("change", what, f"{len(self._duplicates)} unfinished copies of it are in the way")
        if model.state not in ANSWERING:
            return Finding("change", what, f"it is {model.state}")
        answer = self.ml.try_predict(model.id, ["osparse"])
        if answer.status != 200:
            return Finding("change", what, f"it is {model.state} but does not answer: {answer.reason}")
        prove(self.ml, model.id, self.bundle, self.part)
        return Finding("keep", what, "deployed, answers as proved")

    def apply(self) -> None:
        model = self._find() or self._register()
        self._drop_duplicates()
        if model.state == "REGISTERING":
            self._upload(model)
        if model.state == "DEPLOYING":
            model = self._settled(model, ("DEPLOYING",))
        self._deploy(model)
        self._await_answer(model)
        prove(self.ml, model.id, self.bundle, self.part)
        self.id = model.id

    def _find(self) -> Model | None:
        found = self.ml.find_models(self.name)
        foreign = [model for model in found if model.sha256 not in {file.sha256 for file in self.bundle.files.values()}]
        if foreign:
            raise DeploymentConflictError(
                f"model {self.name} (id {foreign[0].id}) holds content {foreign[0].sha256[:12]}.., this bundle's is "
                f"{self.file.sha256[:12]}..; undeploy and delete that model, or package under another --name"
            )
        found.sort(key=lambda model: _ORDER.index(model.state) if model.state in _ORDER else len(_ORDER))
        self._duplicates = found[1:]
        self.id = found[0].id if found else None
        return found[0] if found else None

    def _drop_duplicates(self) -> None:
        for model in self._duplicates:
            log.info("deleting an unfinished copy of %s (id %s, %s)", self.name, model.id, model.state)
            self.ml.undeploy_model(model.id)
            answer = self.ml.delete_model(model.id)
            if answer.status not in (200, 404):
                log.warning("%s (id %s) could not be deleted: %s", self.name, model.id, answer.reason)

    def _register(self) -> Model:
        chunks = -(-self.file.size // CHUNK)
        try:
            model_id = self.ml.register_meta(
                name=self.name,
                function_name=self.file.function_name,
                model_format=self.file.model_format,
                model_group_id=self.group.id,
                size=self.file.size,
                sha256=self.file.sha256,
                chunks=chunks,
            )
        except (ClusterUnreachableError, ClusterBusyError):
            found = self._find()  # the answer was lost, the model may be there
            if found is None:
                raise
            return found
        return Model(model_id, self.name, "REGISTERING", self.file.sha256, self.group.id or "")

    def _upload(self, model: Model) -> None:
        path = self.bundle.zip_path(self.key)
        chunks = -(-self.file.size // CHUNK)
        with path.open("rb") as file, progress(f"upload {self.name}", chunks, "chunks") as bar:
            for number in range(chunks):
                self.ml.upload_chunk(model.id, number, file.read(CHUNK))
                bar.advance()
        # The server writes REGISTERED a while after the last chunk: deployed before that, it would be overwritten.
        state = self._settled(model, set(_ORDER) - {"REGISTERED"}).state
        if state != "REGISTERED":
            raise ClusterError(f"model {self.name} stays {state} after its last chunk; run osparse deploy again")

    def _settled(self, model: Model, passing: Collection[str]) -> Model:
        """The model once it has left the passing states, or as it is after :data:`SETTLE_SECONDS`."""
        for last in _looks(SETTLE_SECONDS):
            found = self.ml.get_model(model.id)
            if found is None:
                raise ClusterError(f"model {self.name} (id {model.id}) vanished; run osparse deploy again")
            if found.state not in passing or last:
                break
        return found or model

    def _deploy(self, model: Model) -> None:
        tried_again = uploaded_again = False
        while errors := self._deploy_once(model):
            reasons = "\n".join(errors.values())
            if not tried_again and ml_failures.RETRY_DEPLOY.search(reasons):
                tried_again = True
                log.info("%s: the server says 'model content changed'; deploying again", self.name)
            elif not uploaded_again and ml_failures.UPLOAD_AGAIN.search(reasons):
                tried_again = uploaded_again = True
                log.info("%s: what the server stored is not whole; uploading again", self.name)
                self._upload(model)
            else:
                nodes = {key: str(node.get("name")) for key, node in ClusterApi(self.ml.cluster).nodes().items()}
                raise ClusterError(ml_failures.failure_text(self.name, errors, nodes))

    def _deploy_once(self, model: Model) -> dict[str, str]:
        """Node -> reason of a failed deploy; empty if it went well on one node at least."""
        answer = self.ml.deploy_model(model.id)
        if answer.status != 200:
            return {"": answer.reason}
        task = self._finished(str(answer.body["task_id"]))
        if task.state == "COMPLETED_WITH_ERROR":
            log.warning("%s", ml_failures.failure_text(f"{self.name} (on some nodes)", task.errors, {}))
            return {}
        return {} if task.state == "COMPLETED" else task.errors or {"": f"the task ended {task.state} without a reason"}

    def _finished(self, task_id: str) -> Task:
        started = time.monotonic()
        with progress(f"deploy {self.name}", unit="seconds") as bar:
            for last in _looks(TASK_SECONDS):
                task = self.ml.get_task(task_id)
                bar.advance(int(time.monotonic() - started) - bar.done, note=task.state)
                if task.done or last:
                    break
        if not task.done:
            raise ClusterError(
                f"deploying {self.name} is still {task.state} after {TASK_SECONDS:.0f} s (task {task_id}); look into "
                "the server's log, then run osparse deploy again"
            )
        return task

    def _await_answer(self, model: Model) -> None:
        for last in _looks(SETTLE_SECONDS):
            answer = self.ml.try_predict(model.id, ["osparse"])
            if answer.status == 200:
                return
            if last:
                raise ClusterError(
                    ml_failures.with_remedy(f"model {self.name} is deployed but does not answer: {answer.reason}")
                )


def _looks(seconds: float) -> Iterator[bool]:
    """One item per look, with waits between them; True with the last one, when the time is over."""
    until, wait = time.monotonic() + seconds, FIRST_WAIT
    while time.monotonic() <= until:
        yield False
        time.sleep(wait)
        wait = min(wait * 1.5, LONGEST_WAIT)
    yield True
