"""The step that brings a model of a bundle into ML Commons: registered, deployed and proved.

A model is found by its name, in whatever state an earlier run left it, and is completed from that state. A model reads
REGISTERED as soon as its last chunk is in, whatever else is missing: so the last chunk is sent last.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from osparse.contracts.bundle import Bundle, BundleFile
from osparse.deployer import names
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.cluster.in_use import PipelineKey, naming, read_pipelines
from osparse.deployer.mlcommons import failures, tasks
from osparse.deployer.mlcommons.api import CHUNK, MLCommons, ModelIdTakenError, ServerModel
from osparse.deployer.mlcommons.chosen_ids import TAKEN, model_id_of
from osparse.deployer.mlcommons.proof import prove
from osparse.deployer.plan import GROUP, Finding, Made
from osparse.errors import ClusterBusyError, ClusterError, ClusterUnreachableError, DeploymentConflictError
from osparse.io.progress import progress

log = logging.getLogger("osparse.deployer.mlcommons.model_steps")

Part = Literal["encoder", "tokenizer"]
"""Of a bundle, each of which becomes a model; also the key of its id in :class:`Made`."""
ANSWERING = ("DEPLOYED", "PARTIALLY_DEPLOYED")
_ORDER = (*ANSWERING, "DEPLOYING", "REGISTERED", "UNDEPLOYED", "DEPLOY_FAILED", "REGISTERING")
"""Which of several models of one name is kept: the furthest along."""


@dataclass(frozen=True)
class ModelCopies:
    """The models of one name and content, as the server shows them at one time."""

    name: str
    best: ServerModel | None
    """The furthest along; of several, one that a pipeline names."""
    unfinished: tuple[ServerModel, ...] = ()
    """Further ones that serve nobody."""
    serving: tuple[ServerModel, ...] = ()
    """Further ones that answer, are about to, or that a pipeline names."""
    refusal: str = ""
    """Why the best one does not answer; empty if it does."""

    @property
    def answers(self) -> bool:
        return self.best is not None and not self.refusal

    @property
    def note(self) -> str:
        return f"; another model of this name is in use and is left: {_listed(self.serving)}" if self.serving else ""


def _listed(models: Sequence[ServerModel]) -> str:
    return ", ".join(f"id {model.id}, {model.state}" for model in models)


def _progress(model: ServerModel) -> int:
    return _ORDER.index(model.state) if model.state in _ORDER else len(_ORDER)


def find_copies(ml: MLCommons, bundle: Bundle, part: Part) -> ModelCopies:
    """The models of a bundle's part, and whether the best of them answers.

    Raises:
        DeploymentConflictError: a model of that name has other content.
    """
    copies = _copies(ml, bundle, part)
    if copies.best is None:
        return copies
    answer = ml.try_predict(copies.best.id, ["osparse"])
    return copies if answer.status == 200 else replace(copies, refusal=answer.reason)


def _copies(ml: MLCommons, bundle: Bundle, part: Part) -> ModelCopies:
    """:func:`find_copies` without asking the best one for an answer."""
    name = names.model_of(bundle, part)
    models = ml.find_models(name)
    ours = {file.sha256 for file in bundle.files.values()}
    foreign = [m for m in models if m.sha256 not in ours and (m.chunks is not None or m.state != "REGISTERING")]
    if foreign:
        raise DeploymentConflictError(
            f"model {name} (id {foreign[0].id}) holds content {foreign[0].sha256[:12]}.., this bundle's is "
            f"{_file(bundle, part).sha256[:12]}..; undeploy and delete that model, or package under another name"
        )
    pipelines = read_pipelines(ClusterApi(ml.cluster)) if len(models) > 1 else {}
    models.sort(key=lambda model: (_progress(model), not naming(pipelines, model.id)))
    serving = tuple(model for model in models[1:] if _serves(ml, model, pipelines))
    unfinished = tuple(model for model in models[1:] if model not in serving)
    return ModelCopies(name, models[0] if models else None, unfinished, serving)


def _serves(ml: MLCommons, model: ServerModel, pipelines: Mapping[PipelineKey, str]) -> bool:
    """Whether somebody may be using a model: it answers or is about to, or a pipeline names it."""
    if model.state in (*ANSWERING, "DEPLOYING") or naming(pipelines, model.id):
        return True
    return ml.try_predict(model.id, ["osparse"]).status == 200


def _key(bundle: Bundle, part: Part) -> str:
    """Of the bundle's file: TorchScript is what ML Commons runs longest, ONNX where there is no other."""
    return "tokenizer" if part == "tokenizer" else bundle.formats[0]


def _file(bundle: Bundle, part: Part) -> BundleFile:
    return bundle.files[_key(bundle, part)]


@dataclass(frozen=True)
class ServedModel:
    """Step: the encoder or the tokenizer is registered once, deployed, and answers with the proved weights."""

    ml: MLCommons
    bundle: Bundle
    part: Part
    copies: ModelCopies
    """As they were found at the start, for the inspection."""
    via_url: str | None = None
    """The cluster fetches the zip from under this address; None: it is sent in chunks."""
    choose_id: bool = False
    """The cluster takes an id of the caller's choice (3.9)."""
    takes = ()

    @property
    def name(self) -> str:
        return self.copies.name

    @property
    def file(self) -> BundleFile:
        return _file(self.bundle, self.part)

    def inspect(self, made: Made) -> Finding:
        """Raises :class:`CheckError` where the model answers with wrong weights."""
        what = f"model {self.name} ({self.file.function_name}, {self.file.model_format}, {self.file.size / 1e6:.1f} MB)"
        copies, left = self.copies, self.copies.note
        if copies.best is None:
            return Finding("create", what, "there is none of that name")
        existing, state = Made({self.part: copies.best.id}), copies.best.state
        if copies.unfinished:
            why = f"unfinished copies of it are deleted ({_listed(copies.unfinished)}){left}"
            return Finding("change", what, why, existing)
        if state not in ANSWERING:
            return Finding("change", what, f"it is {state}{left}", existing)
        if not copies.answers:
            return Finding("change", what, f"it is {state} but does not answer: {copies.refusal}{left}", existing)
        prove(self.ml, copies.best.id, self.bundle, self.part)
        return Finding("keep", what, f"deployed, answers as proved{left}", existing)

    def apply(self, made: Made) -> Made:
        group_id = made.ids[GROUP]
        copies = _copies(self.ml, self.bundle, self.part)  # a deploy on another machine may have been quicker
        model = copies.best
        if model is not None and self._must_start_over(model):
            self._delete(model)
            model = None
        model = model or self._register(group_id)
        for copy in copies.unfinished:
            self._delete(copy)
        if model.state == "REGISTERING":
            self._upload(model)
        if model.state == "DEPLOYING":
            model = self._settled(model, ("DEPLOYING",))
        model = self._deploy(model, group_id)
        tasks.await_answer(self.ml, model)
        prove(self.ml, model.id, self.bundle, self.part)
        return Made({self.part: model.id})

    def _must_start_over(self, model: ServerModel) -> bool:
        """Whether an unfinished registration cannot be resumed: cut otherwise, or left behind by the server."""
        if model.state != "REGISTERING":
            return False
        if model.chunks is None:  # the server is fetching it, or was when it stopped
            return self._settled(model, ("REGISTERING",)).state == "REGISTERING"
        return model.chunks != self._chunks

    def _delete(self, model: ServerModel) -> None:
        """Of an unfinished copy; one that a pipeline names which this deploy does not write is left."""
        own = names.pipelines_of(self.bundle.name, self.bundle.fingerprint)
        users = naming(read_pipelines(ClusterApi(self.ml.cluster)), model.id)
        strangers = [f"{kind} pipeline {name}" for kind, name in users if not name.startswith(own)]
        if strangers:
            log.warning("%s (id %s, %s) is left: %s names it", self.name, model.id, model.state, ", ".join(strangers))
            return
        log.info("deleting an unfinished copy of %s (id %s, %s)", self.name, model.id, model.state)
        self.ml.undeploy_model(model.id)
        answer = self.ml.delete_model(model.id)
        if answer.status not in (200, 404):
            log.warning("%s (id %s) could not be deleted: %s", self.name, model.id, answer.reason)

    @property
    def _chunks(self) -> int:
        return -(-self.file.size // CHUNK)

    def _register(self, group_id: str) -> ServerModel:
        values = {
            "name": self.name,
            "function_name": self.file.function_name,
            "model_format": self.file.model_format,
            "model_group_id": group_id,
            "size": self.file.size,
            "sha256": self.file.sha256,
        }
        chosen = {"model_id": model_id_of(self.bundle, self.part)} if self.choose_id else {}
        try:
            return self._announce({**values, **chosen})
        except ModelIdTakenError as taken:
            registered = _copies(self.ml, self.bundle, self.part).best  # a deploy on another machine was quicker
            if registered is not None:
                return registered
            log.warning("%s; the server chooses the id of %s", taken, self.name)
            return self._announce(values)

    def _announce(self, values: Mapping[str, Any]) -> ServerModel:
        """Register a model with these values; one whose answer was lost is found by its name."""
        try:
            if self.via_url is not None:
                return self._fetched_by_server(self.via_url, values)
            model_id = self.ml.register_meta(**values, chunks=self._chunks)
        except (ClusterUnreachableError, ClusterBusyError):
            registered = _copies(self.ml, self.bundle, self.part).best  # the answer was lost, maybe not the model
            if registered is None:
                raise
            return registered
        group_id = str(values["model_group_id"])
        return ServerModel(model_id, self.name, "REGISTERING", self.file.sha256, group_id, self._chunks)

    def _fetched_by_server(self, address: str, values: Mapping[str, Any]) -> ServerModel:
        url = f"{address.rstrip('/')}/{self.file.name}"
        task = tasks.finished(self.ml, self.ml.register_by_url(**values, url=url), f"register {self.name}")
        if task.state != "COMPLETED" or task.model_id is None:
            reason = "; ".join(task.errors.values()) or f"the task ended {task.state} without a reason"
            if TAKEN.search(reason):
                raise ModelIdTakenError(f"{self.ml.cluster.url}: {reason}")
            raise ClusterError(failures.fetch_text(self.name, url, reason))
        model = self.ml.get_model(task.model_id)
        if model is None:
            raise ClusterError(f"model {self.name} (id {task.model_id}) vanished; run osparse deploy again")
        return model

    def _upload(self, model: ServerModel, *, anew: bool = False) -> None:
        """Send the chunks that the server lacks, or all of them ``anew``; the last one last in any case."""
        last = self._chunks - 1
        stored = set() if anew else self.ml.stored_chunks(model.id, self._chunks)
        missing = [number for number in range(last) if number not in stored] + [last]
        with (
            self.bundle.zip_path(_key(self.bundle, self.part)).open("rb") as file,
            progress(f"upload {self.name}", len(missing), "chunks") as bar,
        ):
            for number in missing:
                file.seek(number * CHUNK)
                self.ml.upload_chunk(model.id, number, file.read(CHUNK))
                bar.advance()
        # The server writes REGISTERED a while after the last chunk: deployed before that, it would be overwritten.
        state = self._settled(model, set(_ORDER) - {"REGISTERED"}).state
        if state != "REGISTERED":
            raise ClusterError(f"model {self.name} stays {state} after its last chunk; run osparse deploy again")

    def _settled(self, model: ServerModel, passing: Collection[str]) -> ServerModel:
        """The model once it has left the passing states, or as it is after :data:`tasks.SETTLE_SECONDS`."""
        for last in tasks.poll(tasks.SETTLE_SECONDS):
            current = self.ml.get_model(model.id)
            if current is None:
                raise ClusterError(f"model {self.name} (id {model.id}) vanished; run osparse deploy again")
            if current.state not in passing or last:
                break
        return current or model

    def _deploy(self, model: ServerModel, group_id: str) -> ServerModel:
        tried_again = uploaded_again = False
        while errors := tasks.deploy_once(self.ml, model):
            reasons = "\n".join(errors.values())
            if not tried_again and failures.RETRY_DEPLOY.search(reasons):
                tried_again = True
                log.info("%s: the server says 'model content changed'; deploying again", self.name)
            elif not uploaded_again and failures.UPLOAD_AGAIN.search(reasons):
                tried_again = uploaded_again = True
                log.info("%s: what the server stored is not whole; uploading again", self.name)
                model = self._stored_anew(model, group_id)
            else:
                raise ClusterError(failures.failure_text(self.name, errors, tasks.node_names(self.ml)))
        return model

    def _stored_anew(self, model: ServerModel, group_id: str) -> ServerModel:
        if self.via_url is not None:
            self._delete(model)
            return self._register(group_id)
        self._upload(model, anew=True)
        return model
