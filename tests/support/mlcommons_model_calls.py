"""Model groups, models, chunks, tasks and predictions, as ML Commons answers."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from mlcommons_http import Request
from mlcommons_models import InferenceError, LoadError, Runtime, assemble
from mlcommons_refusals import Refused
from mlcommons_register import ALGORITHMS, BAD_WORDS, MAX_CHUNK, PLAIN, RegisterCalls
from mlcommons_remote import RemoteRuntime
from mlcommons_state import NODE


class ModelCalls(RegisterCalls):
    """The /_plugins/_ml part."""

    # model groups

    def group_register(self, request: Request) -> Any:
        body = request.json
        for what, text in (("name", body["name"]), ("description", body.get("description", ""))):
            if not PLAIN.fullmatch(text):
                reason = f"Validation Failed: 1: Model group {what} {BAD_WORDS}"
                raise Refused(400, "action_request_validation_exception", reason)
        for i, group in self.groups.items():
            if group["name"] == body["name"]:
                reason = f"The name you provided is already being used by a model group with ID: {i}."
                raise Refused(400, "illegal_argument_exception", reason)
        return {"model_group_id": self._new_group(body["name"], body.get("description", "")), "status": "CREATED"}

    def group_get(self, request: Request) -> Any:
        if request.parts[0] not in self.groups:
            reason = f"Failed to find model group with the provided model group id: {request.parts[0]}"
            raise Refused(404, "status_exception", reason)
        if request.method == "DELETE":
            if any(m["model_group_id"] == request.parts[0] for m in self.models.values()):
                reason = "Cannot delete the model group when it has associated model versions"
                raise Refused(409, "status_exception", reason)
            del self.groups[request.parts[0]]
            return {"_index": ".plugins-ml-model-group", "_id": request.parts[0], "result": "deleted"}
        if request.method == "PUT":
            self.groups[request.parts[0]] |= request.json
            return {"status": "Updated"}
        return self.groups[request.parts[0]]

    def group_search(self, request: Request) -> Any:
        return _hits(".plugins-ml-model-group", _matching(self.groups, request.json["query"]))

    # models

    def model_chunk(self, request: Request) -> Any:
        model_id, number = request.parts
        if not re.fullmatch(r"-?\d+", number):
            raise Refused(400, "number_format_exception", f'For input string: "{number}"')
        if model_id not in self.models:
            raise Refused(500, "m_l_resource_not_found_exception", "Failed to find model")
        model = self.models[model_id]
        if int(number) >= model["total_chunks"]:
            raise Refused(500, "exception", "Chunk number exceeds total chunks")
        if not request.data:
            raise Refused(500, "exception", "Chunk size either 0 or null")
        if len(request.data) > MAX_CHUNK:
            raise Refused(500, "exception", "Chunk size exceeds 10MB")
        self.chunks[model_id][int(number)] = request.data
        if int(number) == model["total_chunks"] - 1:
            self._soon(self.settle_seconds, lambda: self._registered(model))
        return {"status": "Uploaded"}

    def _registered(self, model: dict[str, Any]) -> None:
        """Whatever else is missing; and the description is lost."""
        model["model_state"] = "REGISTERED"
        model.pop("description", None)

    def model_get(self, request: Request) -> Any:
        """A chunk is a document too, and answers under its own id."""
        model_id = request.parts[0]
        if request.method == "GET":
            shown = request.query.get("return_content", "false")
            if shown not in ("true", "false"):
                reason = f"Failed to parse value [{shown}] as only [true] or [false] are allowed."
                raise Refused(400, "illegal_argument_exception", reason)
            owner, _, number = model_id.rpartition("_")
            if number.isdecimal() and str(int(number)) == number and int(number) in self.chunks.get(owner, {}):
                return self._chunk(owner, int(number), content=shown == "true")
        if model_id not in self.models:
            kind = " to update" if request.method == "PUT" else ""
            reason = f"Failed to find model{kind} with the provided model id: {model_id}"
            if request.method == "DELETE":
                reason = "Failed to find model"
            raise Refused(404, "status_exception", reason)
        model = self.models[model_id]
        if request.method == "PUT" and model["algorithm"] == "REMOTE":
            model |= request.json
            return {"_id": model_id, "result": "updated"}
        if request.method == "PUT":
            reason = f"The function category {model['algorithm']} is not supported at this time."
            raise Refused(403, "status_exception", reason)
        if request.method == "DELETE":
            if model["model_state"] in ("DEPLOYED", "DEPLOYING", "PARTIALLY_DEPLOYED"):
                reason = "Model cannot be deleted in deploying or deployed state. Try undeploy model first then delete"
                raise Refused(400, "status_exception", reason)
            del self.models[model_id], self.chunks[model_id]
            return {"_index": ".plugins-ml-model", "_id": model_id, "result": "deleted"}
        return model

    def _chunk(self, model_id: str, number: int, *, content: bool) -> dict[str, Any]:
        """As measured: the chunks of a model that the server downloaded have its name, the others its group."""
        model = self.models[model_id]
        stored = base64.b64encode(self.chunks[model_id][number]).decode()
        named = "name" if model_id in self.downloaded else "model_group_id"
        return {
            named: model[named],
            "algorithm": model["algorithm"], "model_version": model["model_version"],
            **({"model_content": stored} if content else {}),
            "model_format": model["model_format"], "model_id": model_id, "chunk_number": number,
            "total_chunks": model["total_chunks"], "is_hidden": False,
        }  # fmt: skip

    def model_search(self, request: Request) -> Any:
        chunks = {
            f"{i}_{n}": {"chunk_number": n, "model_id": i, "model_group_id": self.models[i]["model_group_id"]}
            for i, parts in self.chunks.items() for n in parts
        }  # fmt: skip
        return _hits(".plugins-ml-model", _matching({**chunks, **self.models}, request.json["query"]))

    def model_deploy(self, request: Request) -> Any:
        model_id = request.parts[0]
        model = self._model(model_id)
        if self._setting("only_run_on_ml_node") == "true" and "ml" not in self.roles and model["algorithm"] != "REMOTE":
            reason = "No eligible node found to execute this request. It's best practice to provision ML nodes."
            raise Refused(400, "illegal_argument_exception", reason)
        if self.refuse_deploy:
            raise Refused(429, "circuit_breaking_exception", self.refuse_deploy)
        if model["algorithm"] == "REMOTE":
            self.deploy_remote(model_id)
            return {"task_id": self._new_id(), "task_type": "DEPLOY_MODEL", "status": "COMPLETED"}
        task_id = self._new_id()
        task = {
            "model_id": model_id, "task_type": "DEPLOY_MODEL", "function_name": model["algorithm"],
            "state": "CREATED", "worker_node": [NODE], "is_async": True,
        }  # fmt: skip
        self.tasks[task_id] = task
        if model["model_state"] != "DEPLOYED":
            model["model_state"] = "DEPLOYING"
        self._soon(self.task_seconds / 2, lambda: task.update(state="RUNNING"))
        self._soon(self.task_seconds, lambda: self._finish(task, model_id))
        return {"task_id": task_id, "task_type": "DEPLOY_MODEL", "status": "CREATED"}

    def _finish(self, task: dict[str, Any], model_id: str) -> None:
        if model_id not in self.models:
            return
        model = self.models[model_id]
        try:
            asked = self.fail_deploy(model["name"])
            if asked is not None:
                raise LoadError(asked)
            if model_id not in self.runtimes:
                if sum(isinstance(one, Runtime) for one in self.runtimes.values()) >= int(
                    self._setting("max_model_on_node")
                ):
                    raise LoadError("Exceed max local model per node limit")
                self.runtimes[model_id] = Runtime(model, assemble(model, self.chunks[model_id], model_id), model_id)
        except Exception as problem:  # noqa: BLE001 - whatever happens, the task must end, as on the server
            model["model_state"] = "DEPLOY_FAILED"
            task.update(state="FAILED", error=json.dumps({NODE: str(problem)}, separators=(",", ":")))
            return
        model["model_state"] = "DEPLOYED"
        task["state"] = "COMPLETED"

    def model_undeploy(self, request: Request) -> Any:
        ids = [request.parts[0]] if request.parts[0] else request.json["model_ids"]
        stats = {}
        for model_id in ids:
            model = self._model(model_id)
            there = self.runtimes.pop(model_id, None) is not None
            if model["model_state"] in ("DEPLOYED", "PARTIALLY_DEPLOYED"):
                model["model_state"] = "UNDEPLOYED"
            stats[model_id] = "undeployed" if there else "not_found"
        return {NODE: {"stats": stats}}

    def model_predict(self, request: Request) -> Any:
        algorithm, model_id = request.parts if len(request.parts) == 2 else ("sparse_encoding", request.parts[0])
        if algorithm.upper() not in ALGORITHMS:
            raise Refused(400, "illegal_argument_exception", "Wrong function name")
        self._model(model_id)
        body = request.json
        form = str((body.get("parameters") or {}).get("sparse_embedding_format", "WORD")).upper()
        if form not in ("WORD", "TOKEN_ID"):
            enum = "org.opensearch.ml.common.input.parameter.textembedding.SparseEmbeddingFormat"
            raise Refused(400, "illegal_argument_exception", f"No enum constant {enum}.{form}")
        texts = body.get("text_docs", [])
        if not isinstance(texts, list):
            reason = (
                'Cannot invoke "org.opensearch.ml.common.input.MLInput.setAlgorithm(org.opensearch.ml.common.FunctionName)"'
                ' because "mlInput" is null'
            )
            raise Refused(500, "null_pointer_exception", reason)
        if not texts:
            raise Refused(400, "illegal_argument_exception", "Empty text docs")
        runtime = self._running(model_id) if self.models.get(model_id, {}).get("algorithm") == "REMOTE" else None
        if isinstance(runtime, RemoteRuntime):
            if len(request.parts) == 1:  # the path of local models fills no texts in
                raise Refused(400, "illegal_argument_exception", f"Invalid payload: {runtime.template}")
            response = runtime.call(texts, (body.get("parameters") or {}).get("sparse_embedding_format"))
            output = {"name": "response", "dataAsMap": {"response": response}}
            return {"inference_results": [{"output": [output], "status_code": 200}]}
        return {"inference_results": [{"output": [self._output(model_id, text, form)]} for text in texts]}

    def _output(self, model_id: str, text: Any, form: str) -> dict[str, Any]:
        runtime = self._running(model_id)
        assert isinstance(runtime, Runtime)
        try:
            response = runtime.predict(text, form)
        except InferenceError as problem:
            reason = f"Failed to inference {self.models[model_id]['algorithm']} model: {model_id}"
            raise Refused(500, "m_l_exception", reason, ("null_pointer_exception", str(problem))) from None
        name = {"name": runtime.output_name} if runtime.output_name else {}
        return {**name, "dataAsMap": {"response": [response]}}

    def profile_models(self, request: Request) -> Any:
        """A model that is not deployed is listed too once a prediction was asked of it, without a state."""
        rows: dict[str, Any] = {
            i: {"predict_request_stats": {"count": 1}} for i in self.asked_models & set(self.models)
        }
        for i in self.runtimes:
            remote = self.models[i]["algorithm"] == "REMOTE" if i in self.models else False
            rows[i] = {"model_state": "DEPLOYED", "memory_size_estimation_cpu": 1_200_000}
            if remote:
                rows[i] = {"model_state": "DEPLOYED", "predictor": "org.opensearch.ml.engine.RemoteModel@1"}
        if not rows:
            return {}
        return {"nodes": {NODE: {"models": rows}}}

    def task_get(self, request: Request) -> Any:
        if request.parts[0] not in self.tasks:
            raise Refused(404, "status_exception", "Failed to find task")
        return self.tasks[request.parts[0]]


def _matching(rows: dict[str, dict[str, Any]], query: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if "ids" in query:
        return {i: row for i, row in rows.items() if i in query["ids"]["values"]}
    clause = query.get("bool", {"must": [query]})
    musts, nots = clause.get("must", []), clause.get("must_not", [])
    return {
        i: row for i, row in rows.items() if all(_fits(row, q) for q in musts) and not any(_fits(row, q) for q in nots)
    }


def _fits(row: dict[str, Any], query: dict[str, Any]) -> bool:
    ((kind, body),) = query.items()
    if kind == "exists":
        return body["field"] in row
    ((name, value),) = body.items()
    found = str(row.get(name.removesuffix(".keyword"), ""))
    return found == value if kind == "term" else value.split("-")[0] in found


def _hits(index: str, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    hits = [{"_index": index, "_id": i, "_score": 1.0, "_source": row} for i, row in rows.items()]
    total = {"value": len(hits), "relation": "eq"}
    return {"took": 0, "timed_out": False, "hits": {"total": total, "max_score": 1.0 if hits else None, "hits": hits}}
