"""A real HTTP server that answers as OpenSearch 3.4.0 with ML Commons and neural-search does.

Statuses, texts and quirks are those measured on the real one: a model reads REGISTERED when its last chunk arrives,
its description is lost then, a zip is judged only by the deploy task, ... The uploaded zip really runs. ``faults`` make
any call fail on purpose.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from mlcommons_models import InferenceError, LoadError, Runtime, assemble
from mlcommons_search import Index, Refused, no_such_index, search

ML_PLUGINS = ("opensearch-job-scheduler", "opensearch-knn", "opensearch-ml", "opensearch-neural-search")
NODE = "43f__YrxTVKXLcL1iKRVww"
ALGORITHMS = {"SPARSE_ENCODING", "SPARSE_TOKENIZE", "TEXT_EMBEDDING"}
MAX_CHUNK = 10_000_000
PLAIN = re.compile(r"""[\w\s.,!?():@\-_'/"]*""")
BAD_WORDS = """can only contain letters, numbers, spaces, and basic punctuation (.,!?():@-_'/");"""
DEFAULTS = {
    "plugins.ml_commons.only_run_on_ml_node": "true",
    "plugins.ml_commons.allow_registering_model_via_local_file": "false",
    "plugins.ml_commons.allow_registering_model_via_url": "false",
    "plugins.ml_commons.native_memory_threshold": "90",
    "plugins.ml_commons.jvm_heap_memory_threshold": "85",
}
OPEN = {
    "plugins.ml_commons.only_run_on_ml_node": "false",
    "plugins.ml_commons.allow_registering_model_via_local_file": "true",
    "plugins.ml_commons.native_memory_threshold": "100",
}
"""The settings the recorded server ran with."""


@dataclass
class Fault:
    """What to do instead of answering."""

    kind: str
    """drop (before anything is done), lose (done, the answer is lost), status, garbage, html, slow."""
    calls: range = range(0)
    """Numbers of the calls it strikes, counted from 1."""
    matching: str = ""
    """Or: a pattern of "METHOD /path"; strikes ``times`` times."""
    times: int = 1
    status: int = 503
    retry_after: str | None = None
    struck: int = 0

    def strikes(self, number: int, call: str) -> bool:
        hit = number in self.calls or bool(
            self.matching and re.search(self.matching, call) and self.struck < self.times
        )
        self.struck += hit
        return hit


@dataclass
class Call:
    number: int
    method: str
    path: str
    status: int = 0

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class MLCommonsServer:
    """Start with :func:`mlcommons_server`; every attribute may be changed by a test."""

    def __init__(self, plugins: tuple[str, ...] = ML_PLUGINS, settings: dict[str, str] | None = None) -> None:
        self.plugins, self.persistent = list(plugins), dict(OPEN if settings is None else settings)
        self.roles = ["cluster_manager", "data", "ingest", "remote_cluster_client"]
        self.analyzers = {"standard", "english", "cjk", "whitespace"}
        self.password: tuple[str, str] | None = None
        self.authorization: str | None = None
        self.forbidden = ""
        self.memory_percent = 50
        self.task_seconds = 0.03
        self.settle_seconds = 0.02
        self.fail_deploy: Callable[[str], str | None] = lambda name: None
        self.faults: list[Fault] = []
        self.calls: list[Call] = []
        self.headers_seen: list[dict[str, str]] = []
        self.groups: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.chunks: dict[str, dict[int, bytes]] = {}
        self.tasks: dict[str, dict[str, Any]] = {}
        self.runtimes: dict[str, Runtime] = {}
        self.ingest: dict[str, dict[str, Any]] = {}
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.indices: dict[str, Index] = {}
        self.lock = threading.RLock()
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._ids = 0
        self.url = ""

    # what a test asks about

    def state(self) -> dict[str, Any]:
        """What a deploy leaves, without ids: equal states, same result."""
        models = sorted((m["name"], m["model_state"], m["model_content_hash_value"]) for m in self.models.values())
        names = {i: m["name"] for i, m in self.models.items()}
        wired = json.dumps([self.ingest, self.pipelines], sort_keys=True)
        for model_id, name in names.items():
            wired = wired.replace(model_id, name)
        return {
            "groups": sorted(g["name"] for g in self.groups.values()),
            "models": models,
            "pipelines": wired,
            "indices": {n: (i.aliases, i.mappings, i.settings, sorted(i.documents)) for n, i in self.indices.items()},
        }

    def restart(self) -> None:
        """The node restarts: models still read DEPLOYED and no longer answer."""
        self.runtimes.clear()

    # the calls

    def answer(self, method: str, path: str, query: dict[str, str], kind: str, data: bytes) -> tuple[int, Any]:
        """Status and body; everything that changes happens under one lock."""
        with self.lock:
            self._tick()
            for pattern, methods, name in ROUTES:
                found = re.fullmatch(pattern, path)
                if found and method in methods.split():
                    request = Request(method, query, data, tuple(unquote(part) for part in found.groups()))
                    try:
                        result = getattr(self, name)(request)
                    except Refused as refused:
                        return refused.status, refused.body()
                    return result if isinstance(result, tuple) else (200, result)
        return 400, {"error": f"no handler found for uri [{path}] and method [{method}]"}

    def _tick(self) -> None:
        now = time.monotonic()
        due, self._later = [x for x in self._later if x[0] <= now], [x for x in self._later if x[0] > now]
        for _, act in due:
            act()

    def _soon(self, seconds: float, act: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + seconds, act))

    def _new_id(self) -> str:
        self._ids += 1
        return f"id{self._ids:04}_aEBr7WC3Jr2"

    def root(self, request: Request) -> Any:
        version = {"distribution": "opensearch", "number": "3.4.0", "lucene_version": "10.3.2"}
        tagline = "The OpenSearch Project: https://opensearch.org/"
        return {"name": "n1", "cluster_name": "testnode", "version": version, "tagline": tagline}

    def cat_plugins(self, request: Request) -> Any:
        return [{"name": "n1", "component": plugin, "version": "3.4.0.0"} for plugin in self.plugins]

    def nodes(self, request: Request) -> Any:
        return {"nodes": {NODE: {"name": "n1", "version": "3.4.0", "roles": self.roles}}}

    def node_stats(self, request: Request) -> Any:
        memory = {"os": {"mem": {"used_percent": self.memory_percent}}, "jvm": {"mem": {"heap_used_percent": 40}}}
        return {"nodes": {NODE: {"name": "n1", **memory}}}

    def settings(self, request: Request) -> Any:
        if request.method == "PUT":
            for key, value in request.json["persistent"].items():
                if key not in DEFAULTS:
                    reason = f"persistent setting [{key}], not recognized"
                    raise Refused(400, "settings_exception", reason)
                self.persistent.pop(key, None)
                if value is not None:
                    self.persistent[key] = str(value).lower()
            return {"acknowledged": True, "persistent": self.persistent, "transient": {}}
        body: dict[str, Any] = {"persistent": self.persistent, "transient": {}}
        if request.query.get("include_defaults") == "true":
            body["defaults"] = {k: v for k, v in DEFAULTS.items() if k not in self.persistent}
        return body

    def analyze(self, request: Request) -> Any:
        name = request.json["analyzer"]
        if name not in self.analyzers:
            raise Refused(400, "illegal_argument_exception", f"failed to find global analyzer [{name}]")
        return {"tokens": []}

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

    def _new_group(self, name: str, description: str) -> str:
        group_id = self._new_id()
        self.groups[group_id] = {"name": name, "latest_version": 0, "description": description, "access": "public"}
        return group_id

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
        return self.groups[request.parts[0]]

    def group_search(self, request: Request) -> Any:
        return _hits(".plugins-ml-model-group", _matching(self.groups, request.json["query"]))

    # models

    def model_register_meta(self, request: Request) -> Any:
        if self._setting("allow_registering_model_via_local_file") != "true":
            reason = (
                "To upload custom model from local file, user needs to enable allow_registering_model_via_local_file "
                "settings. Otherwise please use opensearch pre-trained models"
            )
            raise Refused(400, "illegal_argument_exception", reason)
        body = request.json
        algorithm = str(body.get("function_name", "TEXT_EMBEDDING")).upper()
        self._check_meta(body, algorithm)
        group_id = body.get("model_group_id") or self._group_named(body["name"])
        if group_id not in self.groups:
            raise Refused(500, "m_l_resource_not_found_exception", "Fail to find model group")
        self.groups[group_id]["latest_version"] += 1
        model_id = self._new_id()
        self.models[model_id] = {
            "name": body["name"], "model_group_id": group_id, "algorithm": algorithm,
            "model_version": str(self.groups[group_id]["latest_version"]),
            **({"description": body["description"]} if "description" in body else {}),
            "model_format": body["model_format"], "model_state": "REGISTERING",
            "model_content_size_in_bytes": body.get("model_content_size_in_bytes"),
            "model_content_hash_value": body["model_content_hash_value"],
            "total_chunks": body["total_chunks"], "is_hidden": False,
        }  # fmt: skip
        self.chunks[model_id] = {}
        return {"model_id": model_id, "status": "CREATED"}

    def _check_meta(self, body: dict[str, Any], algorithm: str) -> None:
        def refuse(reason: str) -> Refused:
            return Refused(400, "illegal_argument_exception", reason)

        if algorithm not in ALGORITHMS:
            raise refuse("Wrong function name")
        if body.get("model_format", "ONNX") not in ("TORCH_SCRIPT", "ONNX"):
            raise refuse("Wrong model format")
        for key, words in (("name", "model name is null"), ("model_format", "model format is null")):
            if body.get(key) is None:
                raise refuse(words)
        if algorithm == "TEXT_EMBEDDING" and "model_config" not in body:
            raise refuse("model config is null")
        if "model_config" in body and "model_type" not in body["model_config"]:
            raise refuse("model type is null")
        for key, words in (
            ("model_content_hash_value", "model content hash value is null"),
            ("total_chunks", "total chunks field is null"),
        ):
            if body.get(key) is None:
                raise refuse(words)

    def _group_named(self, name: str) -> str:
        found = next((i for i, group in self.groups.items() if group["name"] == name), None)
        return found or self._new_group(name, "")

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
        model_id = request.parts[0]
        if model_id not in self.models:
            kind = " to update" if request.method == "PUT" else ""
            reason = f"Failed to find model{kind} with the provided model id: {model_id}"
            if request.method == "DELETE":
                reason = "Failed to find model"
            raise Refused(404, "status_exception", reason)
        model = self.models[model_id]
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

    def model_search(self, request: Request) -> Any:
        chunks = {
            f"{i}_{n}": {"chunk_number": n, "model_id": i, "model_group_id": self.models[i]["model_group_id"]}
            for i, parts in self.chunks.items() for n in parts
        }  # fmt: skip
        return _hits(".plugins-ml-model", _matching({**chunks, **self.models}, request.json["query"]))

    def model_deploy(self, request: Request) -> Any:
        model_id = request.parts[0]
        model = self._model(model_id)
        if self._setting("only_run_on_ml_node") == "true" and "ml" not in self.roles:
            reason = "No eligible node found to execute this request. It's best practice to provision ML nodes."
            raise Refused(400, "illegal_argument_exception", reason)
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
                self.runtimes[model_id] = Runtime(model, assemble(model, self.chunks[model_id], model_id), model_id)
        except LoadError as problem:
            model["model_state"] = "DEPLOY_FAILED"
            task.update(state="FAILED", error=json.dumps({NODE: str(problem)}))
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
        return {"inference_results": [{"output": [self._output(model_id, text, form)]} for text in texts]}

    def _output(self, model_id: str, text: Any, form: str) -> dict[str, Any]:
        runtime = self._running(model_id)
        try:
            response = runtime.predict(text, form)
        except InferenceError as problem:
            reason = f"Failed to inference {self.models[model_id]['algorithm']} model: {model_id}"
            raise Refused(500, "m_l_exception", reason, ("null_pointer_exception", str(problem))) from None
        name = {"name": runtime.output_name} if runtime.output_name else {}
        return {**name, "dataAsMap": {"response": [response]}}

    def task_get(self, request: Request) -> Any:
        if request.parts[0] not in self.tasks:
            raise Refused(404, "status_exception", "Failed to find task")
        return self.tasks[request.parts[0]]

    def _setting(self, name: str) -> str:
        key = f"plugins.ml_commons.{name}"
        return self.persistent.get(key, DEFAULTS[key])

    def _model(self, model_id: str) -> dict[str, Any]:
        if model_id not in self.models:
            raise Refused(404, "status_exception", "Failed to find model")
        return self.models[model_id]

    def _running(self, model_id: str) -> Runtime:
        self._model(model_id)
        if model_id not in self.runtimes:
            reason = "Model not ready yet. Please deploy the model first."
            raise Refused(400, "illegal_argument_exception", reason)
        return self.runtimes[model_id]

    # pipelines

    def ingest_pipeline(self, request: Request) -> Any:
        if request.method == "PUT":
            for processor in request.json.get("processors", []):
                _check_processor(processor)
        return self._stored(self.ingest, request)

    def search_pipeline(self, request: Request) -> Any:
        if request.method == "PUT":
            for processor in request.json.get("request_processors", []):
                ((kind, _),) = processor.items()
                if kind not in ("neural_query_enricher", "neural_sparse_two_phase_processor", "filter_query"):
                    raise Refused(400, "illegal_argument_exception", f"Invalid processor type {kind}")
        return self._stored(self.pipelines, request)

    def _stored(self, store: dict[str, dict[str, Any]], request: Request) -> Any:
        name = request.parts[0]
        if request.method == "PUT":
            store[name] = request.json
            return {"acknowledged": True}
        if request.method == "DELETE":
            if name not in store:
                raise Refused(404, "resource_not_found_exception", f"pipeline [{name}] is missing")
            del store[name]
            return {"acknowledged": True}
        return {name: store[name]} if name in store else (404, {})

    def _ingested(self, index: Index, source: dict[str, Any]) -> dict[str, Any]:
        name = index.settings.get("default_pipeline")
        if not name or name == "_none":
            return source
        if name not in self.ingest:
            raise Refused(400, "illegal_argument_exception", f"pipeline with id [{name}] does not exist")
        for processor in self.ingest[name]["processors"]:
            body = processor["sparse_encoding"]
            for text_field, target in body["field_map"].items():
                source = self._encoded(source, text_field, target, body["model_id"])
        return source

    def _encoded(self, source: dict[str, Any], text_field: str, target: str, model_id: str) -> dict[str, Any]:
        text = source.get(text_field)
        if text is None or text == "":
            return source
        if isinstance(text, dict):
            reason = (
                f"[{text_field}] configuration doesn't match actual value type, configuration type is: java.lang.String, "
                "actual value type is: java.util.HashMap"
            )
            raise Refused(400, "illegal_argument_exception", reason)
        if not isinstance(text, str):
            reason = f"map type field [{text_field}] is neither string nor nested type, cannot process it"
            raise Refused(400, "illegal_argument_exception", reason)
        return {**source, target: self._running(model_id).predict(text, "WORD")}

    # indices and documents

    def index_put(self, request: Request) -> Any:
        name = request.parts[0]
        if name in self.indices:
            reason = f"index [{name}/uuid] already exists"
            raise Refused(400, "resource_already_exists_exception", reason)
        if any(name in index.aliases for index in self.indices.values()):
            reason = f"Invalid index name [{name}], already exists as alias"
            raise Refused(400, "invalid_index_name_exception", reason)
        self.indices[name] = Index(name, request.json or {})
        return {"acknowledged": True, "shards_acknowledged": True, "index": name}

    def index_get(self, request: Request) -> Any:
        return {index.name: index.describe() for index in self._indices(request.parts[0])}

    def index_delete(self, request: Request) -> Any:
        if request.parts[0] not in self.indices:
            raise no_such_index(request.parts[0])
        del self.indices[request.parts[0]]
        return {"acknowledged": True}

    def mapping_get(self, request: Request) -> Any:
        if request.parts[0] == "_all":
            wanted = request.query.get("filter_path") == "*.mappings._meta"
            return {
                name: {"mappings": {"_meta": index.mappings["_meta"]} if wanted else index.mappings}
                for name, index in self.indices.items() if "_meta" in index.mappings or not wanted
            }  # fmt: skip
        return {index.name: {"mappings": index.mappings} for index in self._indices(request.parts[0])}

    def alias_of_index(self, request: Request) -> Any:
        return {index.name: {"aliases": index.aliases} for index in self._indices(request.parts[0])}

    def alias_get(self, request: Request) -> Any:
        alias = request.parts[0]
        found = {n: {"aliases": {alias: {}}} for n, i in self.indices.items() if alias in i.aliases}
        return found or (404, {"error": f"alias [{alias}] missing", "status": 404})

    def aliases_post(self, request: Request) -> Any:
        for action in request.json["actions"]:
            ((kind, body),) = action.items()
            if body["index"] not in self.indices:
                raise no_such_index(body["index"])
            aliases = self.indices[body["index"]].aliases
            if kind == "remove" and body["alias"] not in aliases:
                raise Refused(404, "aliases_not_found_exception", f"aliases [{body['alias']}] missing")
            if kind == "remove":
                del aliases[body["alias"]]
            else:
                aliases[body["alias"]] = {}
        return {"acknowledged": True}

    def refresh(self, request: Request) -> Any:
        self._indices(request.parts[0])
        return {"_shards": {"total": 1, "successful": 1, "failed": 0}}

    def count(self, request: Request) -> Any:
        return {"count": sum(len(index.documents) for index in self._indices(request.parts[0]))}

    def document(self, request: Request) -> Any:
        name, document_id = request.parts
        if request.method == "PUT":
            try:
                index = self._indices(name)[0]
            except Refused:
                index = self.indices.setdefault(name, Index(name, {}))
            version = index.put(document_id, self._ingested(index, request.json))
            result = "created" if version == 1 else "updated"
            status = 201 if version == 1 else 200
            return status, {"_index": name, "_id": document_id, "_version": version, "result": result}
        index = self._indices(name)[0]
        if document_id not in index.documents:
            return 404, {"_index": index.name, "_id": document_id, "found": False}
        return {"_index": index.name, "_id": document_id, "found": True, "_source": index.documents[document_id]}

    def mget(self, request: Request) -> Any:
        try:
            index = self._indices(request.parts[0])[0]
        except Refused as refused:
            return {"docs": [{"_id": i, "error": refused.error()} for i in request.json["ids"]]}
        docs = []
        for i in request.json["ids"]:
            found = {"_index": index.name, "_id": i, "found": i in index.documents}
            stored = request.query.get("stored_fields")
            if found["found"] and stored and stored in index.documents[i]:
                found["fields"] = {stored: [index.documents[i][stored]]}
            docs.append(found)
        return {"docs": docs}

    def bulk(self, request: Request) -> Any:
        rows = [json.loads(line) for line in request.data.splitlines() if line.strip()]
        items, errors = [], False
        for action, source in zip(rows[::2], rows[1::2], strict=True):
            meta = action["index"]
            index = self._indices(meta.get("_index") or request.parts[0])[0]
            item = {"_index": index.name, "_id": meta["_id"]}
            try:
                encoded = source if request.query.get("pipeline") == "_none" else self._ingested(index, source)
                version = index.put(meta["_id"], encoded)
                item |= {"_version": version, "result": "created" if version == 1 else "updated", "status": 201}
            except Refused as refused:
                errors = True
                item |= {"status": refused.status, "error": refused.error()}
            items.append({"index": item})
        return {"took": 1, "errors": errors, "items": items}

    def search(self, request: Request) -> Any:
        index = self._indices(request.parts[0])[0]
        name = request.query.get("search_pipeline") or index.settings.get("search.default_pipeline")
        return search(index, request.json or {}, lambda clause: self._query_tokens(clause, name))

    def _query_tokens(self, clause: dict[str, Any], pipeline: str | None) -> dict[str, float]:
        model_id = clause.get("model_id")
        for processor in self.pipelines.get(pipeline or "", {}).get("request_processors", []):
            body = processor.get("neural_query_enricher", {})
            by_field = body.get("neural_field_default_id", {}).get(clause["field"])
            model_id = model_id or by_field or body.get("default_model_id")
        if model_id is None:
            return dict.fromkeys(clause["query_text"].lower().split(), 1.0)  # the server's bert-uncased analyzer
        return {k: float(v or 0) for k, v in self._running(model_id).predict(clause["query_text"], "WORD").items()}

    def _indices(self, name: str) -> list[Index]:
        if name in self.indices:
            return [self.indices[name]]
        found = [index for index in self.indices.values() if name in index.aliases]
        if not found:
            raise no_such_index(name)
        return found


@dataclass
class Request:
    method: str
    query: dict[str, str]
    data: bytes
    parts: tuple[str, ...] = field(default=())

    @property
    def json(self) -> Any:
        return json.loads(self.data) if self.data else {}


_ML, _N = r"/_plugins/_ml", r"([^/_][^/]*)"
ROUTES = (
    (r"/", "GET", "root"),
    (r"/_cat/plugins", "GET", "cat_plugins"),
    (r"/_nodes/plugins", "GET", "nodes"),
    (r"/_nodes/stats/os,jvm", "GET", "node_stats"),
    (r"/_cluster/settings", "GET PUT", "settings"),
    (r"/_analyze", "POST", "analyze"),
    (rf"{_ML}/model_groups/_register", "POST", "group_register"),
    (rf"{_ML}/model_groups/_search", "POST", "group_search"),
    (rf"{_ML}/model_groups/([^/]+)", "GET DELETE", "group_get"),
    (rf"{_ML}/models/_register_meta", "POST", "model_register_meta"),
    (rf"{_ML}/models/_search", "POST", "model_search"),
    (rf"{_ML}/models/()_undeploy", "POST", "model_undeploy"),
    (rf"{_ML}/models/([^/]+)/upload_chunk/([^/]+)", "POST", "model_chunk"),
    (rf"{_ML}/models/([^/]+)/_deploy", "POST", "model_deploy"),
    (rf"{_ML}/models/([^/]+)/_undeploy", "POST", "model_undeploy"),
    (rf"{_ML}/models/([^/]+)/_predict", "POST", "model_predict"),
    (rf"{_ML}/_predict/([^/]+)/([^/]+)", "POST", "model_predict"),
    (rf"{_ML}/models/([^/]+)", "GET PUT DELETE", "model_get"),
    (rf"{_ML}/tasks/([^/]+)", "GET", "task_get"),
    (r"/_ingest/pipeline/([^/]+)", "GET PUT DELETE", "ingest_pipeline"),
    (r"/_search/pipeline/([^/]+)", "GET PUT DELETE", "search_pipeline"),
    (r"/_alias/([^/]+)", "GET", "alias_get"),
    (r"/_aliases", "POST", "aliases_post"),
    (r"/(_all)/_mapping", "GET", "mapping_get"),
    (r"/()_bulk", "POST", "bulk"),
    (rf"/{_N}/_mapping", "GET", "mapping_get"),
    (rf"/{_N}/_alias", "GET", "alias_of_index"),
    (rf"/{_N}/_refresh", "POST", "refresh"),
    (rf"/{_N}/_count", "GET POST", "count"),
    (rf"/{_N}/_mget", "POST", "mget"),
    (rf"/{_N}/_bulk", "POST", "bulk"),
    (rf"/{_N}/_search", "POST GET", "search"),
    (rf"/{_N}/_doc/([^/]+)", "GET PUT", "document"),
    (rf"/{_N}", "PUT", "index_put"),
    (rf"/{_N}", "GET HEAD", "index_get"),
    (rf"/{_N}", "DELETE", "index_delete"),
)
"""Pattern, methods, name of the method that answers; the first that fits."""


def _check_processor(processor: dict[str, Any]) -> None:
    ((kind, body),) = processor.items()
    if kind != "sparse_encoding":
        raise Refused(400, "parse_exception", f"No processor type exists with name [{kind}]")
    for key in ("model_id", "field_map"):
        if key not in body:
            raise Refused(400, "parse_exception", f"[{key}] required property is missing")
    if "prune_ratio" in body and "prune_type" not in body:
        reason = (
            "java.lang.IllegalArgumentException: prune_ratio field is not supported when prune_type is not provided"
        )
        raise Refused(500, "exception", reason)


def _matching(rows: dict[str, dict[str, Any]], query: dict[str, Any]) -> dict[str, dict[str, Any]]:
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


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body leave together: no 40 ms of delayed acknowledgement per call
    disable_nagle_algorithm = True
    twin: MLCommonsServer

    def log_message(self, *_: Any) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _do(self) -> None:
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = urlsplit(self.path)
        twin = self.twin
        with twin.lock:
            call = Call(len(twin.calls) + 1, self.command, parts.path)
            twin.calls.append(call)
            twin.headers_seen.append({k.lower(): v for k, v in self.headers.items()})
            fault = next((f for f in twin.faults if f.strikes(call.number, str(call))), None)
        if fault and fault.kind == "drop":
            self.close_connection = True
            return
        if fault and fault.kind in ("status", "garbage", "html"):
            call.status = fault.status
            return self._fault(fault)
        if fault and fault.kind == "slow":
            time.sleep(0.2)
        refused = self._refused(parts.path)
        kind = self.headers.get("content-type", "")
        if refused is not None:
            status, body = refused
        elif data and kind.split(";")[0] not in ("application/json", "application/x-ndjson"):
            status, body = 406, {"error": f"Content-Type header [{kind}] is not supported", "status": 406}
        else:
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            status, body = twin.answer(self.command, parts.path, query, kind, data)
        call.status = status
        if fault and fault.kind == "lose":
            self.close_connection = True
            return None
        return self._reply(status, json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"), {})

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _do

    def _refused(self, path: str) -> tuple[int, Any] | None:
        twin = self.twin
        given = self.headers.get("authorization", "")
        wanted = twin.authorization
        if twin.password:
            wanted = "Basic " + base64.b64encode(":".join(twin.password).encode()).decode()
        if wanted and given != wanted:
            return 401, {"error": "Unauthorized", "status": 401}
        if twin.forbidden and re.search(twin.forbidden, f"{self.command} {path}"):
            reason = "no permissions for [cluster:admin/opensearch/ml] and User [name=u, backend_roles=[]]"
            return 403, Refused(403, "security_exception", reason).body()
        return None

    def _fault(self, fault: Fault) -> None:
        if fault.kind == "status":
            refused = Refused(fault.status, "circuit_breaking_exception", "[parent] Data too large")
            headers = {"retry-after": fault.retry_after} if fault.retry_after else {}
            return self._reply(fault.status, json.dumps(refused.body()).encode(), headers)
        if fault.kind == "garbage":
            return self._reply(200, b'{"half": ', {})
        return self._reply(200, b"<html><body>Welcome to nginx!</body></html>", {"content-type": "text/html"})

    def _reply(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json; charset=UTF-8", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def mlcommons_server(
    plugins: tuple[str, ...] = ML_PLUGINS, settings: dict[str, str] | None = None
) -> Iterator[MLCommonsServer]:
    """A running server on a free port of 127.0.0.1."""
    twin = MLCommonsServer(plugins, settings)
    handler = type("Handler", (_Handler,), {"twin": twin})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    twin.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield twin
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
