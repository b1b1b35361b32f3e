"""The step that makes a bundle's remote encoder: connector, model, and the proof that it gives the probes' weights.

A remote deploy succeeds even where the host does not exist, so only predictions prove it. Another address is tried
with a model of its own first, so that the model that serves never points to an encoder that was not proved.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from osparse.contracts.bundle import Bundle
from osparse.deployer import names
from osparse.deployer.mlcommons.api import MLCommons
from osparse.deployer.mlcommons.proof import prove
from osparse.deployer.mlcommons.remote_calls import Connector, RemoteCalls, RemoteModel, TokenPredictions
from osparse.deployer.plan import ENCODER, GROUP, Finding, Made
from osparse.deployer.remote.connector import Wanted
from osparse.encoders.onnx_encoder import open_query_encoder
from osparse.errors import CheckError, ClusterError

log = logging.getLogger("osparse.deployer.remote.encoder_step")

TRIAL = "-trial"
"""Ends the name of a model that tries another address out; none is left after a deploy that ended well."""
DELETE_WAITS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each try to delete a model: right after an undeploy the server refuses."""


@dataclass(frozen=True)
class RemoteEncoder:
    """Step: the bundle's remote model calls the encoder at the address, and answers with the proved weights."""

    ml: MLCommons
    bundle: Bundle
    wanted: Wanted
    takes = ()

    @property
    def name(self) -> str:
        return names.model_of(self.bundle, self.wanted.part)

    @property
    def calls(self) -> RemoteCalls:
        return RemoteCalls(self.ml.cluster)

    def inspect(self, made: Made) -> Finding:
        """Raises :class:`CheckError` where the encoder answers with wrong weights."""
        what = f"remote model {self.name} (calls {self.wanted.endpoint})"
        model = self._model(self.name)
        if model is None:
            return Finding("create", what, "there is none of that name")
        existing = Made({ENCODER: model.id})
        if model.connector_id not in {connector.id for connector in self._connectors()}:
            return Finding("change", what, "its connector is for another address or other settings", existing)
        problem = self._problem(model)
        if problem:
            return Finding("change", what, f"it is {model.state} and does not answer: {problem}", existing)
        if self._leftovers(model.connector_id) or self._model(f"{self.name}{TRIAL}") is not None:
            return Finding("change", what, "connectors or models of an earlier deploy are left over", existing)
        return Finding("keep", what, "deployed, answers as proved", existing)

    def apply(self, made: Made) -> Made:
        self._delete_trial()
        model = self._model(self.name)
        if model is None:
            model = self._registered(self.name, self._connector(), made.ids[GROUP])
        elif model.connector_id not in {connector.id for connector in self._connectors()}:
            self._switch(model, self._connector(), made.ids[GROUP])
        elif self._problem(model):
            model = self._repaired(model, made.ids[GROUP])
        self._deploy(model.id)
        self._prove(model.id)
        current = self.calls.get_model(model.id)
        for connector in self._leftovers(current.connector_id if current else ""):
            self.calls.delete_connector(connector.id)
        return Made({ENCODER: model.id})

    def _switch(self, model: RemoteModel, connector_id: str, group_id: str) -> None:
        """Prove the connector with a trial model, then let the model that serves use it from its next call on."""
        trial = self._registered(f"{self.name}{TRIAL}", connector_id, group_id)
        try:
            self._deploy(trial.id)
            self._prove(trial.id)
        except (ClusterError, CheckError):
            self._delete_trial()
            self.calls.delete_connector(connector_id)
            raise
        self.calls.use_connector(model.id, connector_id)
        self._delete_trial()

    def _repaired(self, model: RemoteModel, group_id: str) -> RemoteModel:
        """Deploy it again, which makes it read the cluster's settings; then give it a connector with today's token."""
        self.ml.undeploy_model(model.id)
        self._deploy(model.id)
        if self._problem(model):
            self._switch(model, self.calls.create_connector(self.wanted.body()), group_id)
        return model

    def _model(self, name: str) -> RemoteModel | None:
        """The model of that name; of several, the first that is deployed."""
        models = sorted(self.ml.find_models(name), key=lambda model: model.state != "DEPLOYED")
        return self.calls.get_model(models[0].id) if models else None

    def _connectors(self) -> list[Connector]:
        """Those that are as wanted; of equal names, all."""
        return [one for one in self.calls.find_connectors(self.wanted.prefix) if one.name == self.wanted.name]

    def _leftovers(self, used: str) -> list[Connector]:
        return [one for one in self.calls.find_connectors(self.wanted.prefix) if one.id != used]

    def _connector(self) -> str:
        """A new one: one that an interrupted deploy left may hold another token."""
        return self.calls.create_connector(self.wanted.body())

    def _registered(self, name: str, connector_id: str, group_id: str) -> RemoteModel:
        return RemoteModel(self.calls.register(name, connector_id, group_id), "REGISTERED", connector_id)

    def _deploy(self, model_id: str) -> None:
        answer = self.ml.deploy_model(model_id)
        if answer.status != 200:
            raise ClusterError(f"remote model {self.name} could not be deployed: {answer.reason}")

    def _problem(self, model: RemoteModel) -> str:
        """Why it does not answer; empty if it answers as proved. Raises :class:`CheckError` for wrong weights."""
        try:
            self._prove(model.id)
        except ClusterError as problem:
            return str(problem)
        return "" if model.state == "DEPLOYED" else f"it is {model.state}"

    def _prove(self, model_id: str) -> None:
        ids = self.wanted.part == "remote-ids"
        tokens = open_query_encoder(self.bundle.zip_path("tokenizer")).lexicon.tokens if ids else None
        prove(TokenPredictions(self.calls, tokens), model_id, self.bundle, "encoder")

    def _delete_trial(self) -> None:
        for model in self.ml.find_models(f"{self.name}{TRIAL}"):
            self.ml.undeploy_model(model.id)
            for wait in DELETE_WAITS:
                time.sleep(wait)
                if self.ml.delete_model(model.id).status in (200, 404):
                    break
            else:
                log.warning("%s (id %s) could not be deleted; the next deploy tries again", model.name, model.id)
