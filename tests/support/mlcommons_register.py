"""How models get into ML Commons: announced and sent in chunks, or fetched by URL."""

from __future__ import annotations

import hashlib
import re
import urllib.error
import urllib.request
from typing import Any

from mlcommons_http import Request
from mlcommons_refusals import Refused
from mlcommons_state import NODE, State

ALGORITHMS = {"SPARSE_ENCODING", "SPARSE_TOKENIZE", "TEXT_EMBEDDING"}
MAX_CHUNK = 10_000_000
CHOSEN = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*")
PLAIN = re.compile(r"""[\w\s.,!?():@\-_'/"]*""")
BAD_WORDS = """can only contain letters, numbers, spaces, and basic punctuation (.,!?():@-_'/");"""


class RegisterCalls(State):
    """The two ways to register."""

    def _new_group(self, name: str, description: str) -> str:
        group_id = self._new_id()
        self.groups[group_id] = {"name": name, "latest_version": 0, "description": description, "access": "public"}
        return group_id

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
        model_id = self._id_of(body)
        self.groups[group_id]["latest_version"] += 1
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

    def model_register_url(self, request: Request) -> Any:
        """The task downloads; a failed one leaves no model behind. A remote model is there at once."""
        if str(request.json["function_name"]).lower() == "remote":
            return self._register_remote(request.json)
        if self._setting("allow_registering_model_via_url") != "true":
            reason = (
                "To upload custom model user needs to enable allow_registering_model_via_url settings. Otherwise please "
                "use OpenSearch pre-trained models."
            )
            raise Refused(400, "illegal_argument_exception", reason)
        for what, text in (("name", request.json["name"]), ("description", request.json.get("description", ""))):
            if not PLAIN.fullmatch(text):
                reason = f"Validation Failed: 1: Model {what} {BAD_WORDS}"
                raise Refused(400, "action_request_validation_exception", reason)
        task_id = self._new_id()
        task = {"task_type": "REGISTER_MODEL", "function_name": request.json["function_name"], "state": "CREATED",
                "worker_node": [NODE], "is_async": True}  # fmt: skip
        self.tasks[task_id] = task
        self._soon(self.task_seconds, lambda: self._download(task, request.json))
        return {"task_id": task_id, "status": "CREATED"}

    def _download(self, task: dict[str, Any], body: dict[str, Any]) -> None:
        try:
            with urllib.request.urlopen(body["url"], timeout=5) as answer:
                data = answer.read()
        except urllib.error.HTTPError:
            task.update(state="FAILED", error=body["url"])  # as java.io.FileNotFoundException words it
            return
        except OSError:
            task.update(state="FAILED", error="Connection refused")
            return
        if "model_content_hash_value" not in body:
            reason = (
                "Model content Hash code need to be provided when register via url. Please calculate sha 256 Hash code."
            )
            task.update(state="FAILED", error=reason)
            return
        if hashlib.sha256(data).hexdigest() != body["model_content_hash_value"]:
            task.update(state="FAILED", error="model content changed")
            return
        try:
            model_id = self._id_of(body)
        except Refused as taken:
            task.update(state="FAILED", error=taken.body()["error"]["reason"])
            return
        pieces = [data[i : i + MAX_CHUNK] for i in range(0, len(data), MAX_CHUNK)]
        group_id = body.get("model_group_id") or self._group_named(body["name"])
        self.groups[group_id]["latest_version"] += 1
        self.models[model_id] = {
            "name": body["name"], "model_group_id": group_id, "algorithm": body["function_name"],
            "model_version": str(self.groups[group_id]["latest_version"]), "model_format": body["model_format"],
            "model_state": "REGISTERED", "model_content_size_in_bytes": len(data),
            "model_content_hash_value": body["model_content_hash_value"], "total_chunks": len(pieces),
            "is_hidden": False,
        }  # fmt: skip
        self.chunks[model_id] = dict(enumerate(pieces))
        self.downloaded.add(model_id)
        task.update(state="COMPLETED", model_id=model_id)

    def _register_remote(self, body: dict[str, Any]) -> Any:
        if body["connector_id"] not in self.connectors:
            raise Refused(
                404,
                "status_exception",
                f"Failed to find connector with the provided connector id: {body['connector_id']}",
            )
        group_id = body.get("model_group_id") or self._group_named(body["name"])
        self.groups[group_id]["latest_version"] += 1
        model_id = self._new_id()
        self.models[model_id] = {
            "name": body["name"], "model_group_id": group_id, "algorithm": "REMOTE", "model_version": "1",
            "model_state": "REGISTERED", "is_hidden": False, "connector_id": body["connector_id"],
        }  # fmt: skip
        self.chunks[model_id] = {}
        return {"task_id": self._new_id(), "status": "CREATED", "model_id": model_id}

    def _id_of(self, body: dict[str, Any]) -> str:
        """The caller's on 3.9, as read in its source: created once, or a conflict. Older servers do not look at it."""
        chosen = body.get("model_id")
        if chosen is None or not self.takes_ids:
            return self._new_id()
        if not CHOSEN.fullmatch(chosen):
            reason = (
                "model id must contain only letters, digits, underscores, and hyphens, and must start with a letter or "
                "digit"
            )
            raise Refused(400, "illegal_argument_exception", reason)
        if len(chosen.encode()) > 512:
            raise Refused(400, "illegal_argument_exception", "model id is too long, max length is 512")
        if chosen in self.models:
            raise Refused(409, "status_exception", f"model id '{chosen}' already exists")
        return str(chosen)

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
