"""The test server behind the security plugin: users, roles, and what they may not do, read and see.

Answers 401 without credentials and 403 with the missing permissions; ``perform_permission_check=true`` answers whether
a call would be allowed without doing it (OpenSearch Security 3.2). Field- and document-level restrictions of a role
take fields and documents away from everything that its user reads, mappings included.
"""

from __future__ import annotations

import base64
import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import yaml
from local_http import serving
from mlcommons_http import Handler
from mlcommons_index import Index
from mlcommons_models import Runtime
from mlcommons_refusals import Refused
from mlcommons_remote import RemoteRuntime
from mlcommons_server import ML_PLUGINS, MLCommonsServer
from security_actions import OPEN_TO_ALL, Needed, needed

PREDICT = Needed("cluster", "cluster:admin/opensearch/ml/predict")
CHECK = "perform_permission_check"


@dataclass
class Role:
    """As ``roles.yml`` has it; patterns may hold ``*``."""

    cluster: list[str]
    indices: list[dict[str, Any]]
    """Each with ``index_patterns`` and ``allowed_actions``, and maybe ``fls`` and ``dls``."""

    def allows(self, permission: Needed, names: set[str]) -> bool:
        """``names`` are the index's own and its aliases'; one of them has to be in the role."""
        if permission.level == "cluster":
            return _any_fits(self.cluster, permission.action)
        return any(
            _any_fits(part["allowed_actions"], permission.action)
            and any(_any_fits(part["index_patterns"], name) for name in names)
            for part in self.indices
        )


@dataclass
class User:
    password: str
    roles: list[str]
    backend_roles: list[str] = field(default_factory=list)


def read_roles(text: str) -> dict[str, Role]:
    """Roles by name, of a ``roles.yml``."""
    return {
        name: Role(body.get("cluster_permissions", []), body.get("index_permissions", []))
        for name, body in yaml.safe_load(text).items()
        if name != "_meta"
    }


class SecuredServer(MLCommonsServer):
    """Start with :func:`secured_server`; a user "admin" with the password "admin" may do everything."""

    def __init__(self, plugins: tuple[str, ...], settings: dict[str, str] | None) -> None:
        super().__init__((*plugins, "opensearch-security"), settings)
        everything = {"index_patterns": ["*"], "allowed_actions": ["*"]}
        self.security_roles = {"all_access": Role(["*"], [everything])}
        self.users = {"admin": User("admin", ["all_access"])}
        self.checks_permissions = True
        """Whether the version knows ``perform_permission_check`` (3.2); an older one refuses the parameter."""
        self.ignores_checks = False
        """Whether something before the server drops that parameter, so that the call is made."""
        self.used: set[tuple[str, Needed]] = set()
        """User and permission, of everything that was allowed."""
        self.request = threading.local()

    def add_user(self, name: str, roles: dict[str, Role], password: str = "pass") -> None:
        self.security_roles |= roles
        self.users[name] = User(password, [*roles])

    def answer(self, method: str, path: str, query: dict[str, str], kind: str, data: bytes) -> tuple[int, Any]:
        if path in OPEN_TO_ALL:
            return 200, self._authinfo()
        if self.ignores_checks:
            query = {name: value for name, value in query.items() if name != CHECK}
        if CHECK in query and not self.checks_permissions:
            reason = f"request [{path}] contains unrecognized parameter: [{CHECK}]"
            return 400, Refused(400, "illegal_argument_exception", reason).body()
        wanted = needed(method, path, data)
        with self.lock:
            missing = sorted({one.action for one in wanted if not self._allowed(one)})
        if query.get(CHECK) == "true":
            return 200, {"accessAllowed": not missing, "missingPrivileges": missing}
        if missing:
            return 403, self._refusal(missing).body()
        self.used |= {(self.request.user, one) for one in wanted}
        with self.lock:
            return self._seen(method, path, query, kind, data)

    def _seen(self, method: str, path: str, query: dict[str, str], kind: str, data: bytes) -> tuple[int, Any]:
        """The answer over the documents and fields that the user may see, where that restricts him."""
        reads = method in ("GET", "HEAD") or path.rsplit("/", 1)[-1] in ("_search", "_msearch", "_mget", "_count")
        everything = self.indices
        if reads:
            self.indices = {name: self._restricted(index) for name, index in everything.items()}
        try:
            return super().answer(method, path, query, kind, data)
        finally:
            self.indices = everything

    def _running(self, model_id: str) -> Runtime | RemoteRuntime:
        """Pipelines and queries that encode text ask the model in the user's name."""
        if not self._allowed(PREDICT):
            raise self._refusal([PREDICT.action])
        self.used.add((self.request.user, PREDICT))
        return super()._running(model_id)

    def _allowed(self, permission: Needed) -> bool:
        roles = [self.security_roles[name] for name in self.users[self.request.user].roles]
        return all(any(role.allows(permission, names) for role in roles) for names in self._names(permission.index))

    def _names(self, asked: str | None) -> list[set[str]]:
        """One set of names for each concrete index that a request names; of one that is not there, the name itself."""
        if asked is None or asked == "*":
            return [{"*"}]
        concrete = [index for index in self.indices.values() if asked == index.name or asked in index.aliases]
        return [{index.name, *index.aliases} for index in concrete] or [{asked}]

    def _restricted(self, index: Index) -> Index:
        parts = [
            part
            for name in self.users[self.request.user].roles
            for part in self.security_roles[name].indices
            if any(_any_fits(part["index_patterns"], known) for known in (index.name, *index.aliases))
        ]
        hidden = [name[1:] for part in parts for name in part.get("fls", []) if name.startswith("~")]
        shown = [name for part in parts for name in part.get("fls", []) if not name.startswith("~")]
        terms = [part["dls"] for part in parts if part.get("dls")]
        if not (hidden or shown or terms):
            return index

        def visible(field: str) -> bool:
            return not _any_fits(hidden, field) and (not shown or _any_fits(shown, field))

        seen = copy.copy(index)
        fields = index.mappings.get("properties", {})
        seen.mappings = {**index.mappings, "properties": {k: v for k, v in fields.items() if visible(k)}}
        seen.documents = {
            document_id: {k: v for k, v in source.items() if visible(k)}
            for document_id, source in index.documents.items()
            if all(source.get(name) == value for term in terms for name, value in term["term"].items())
        }
        return seen

    def _refusal(self, missing: list[str]) -> Refused:
        user, tenant = self.request.user, self.request.tenant
        backend = ", ".join(self.users[user].backend_roles)
        who = f"User [name={user}, backend_roles=[{backend}], requestedTenant={tenant}]"
        return Refused(403, "security_exception", f"no permissions for [{', '.join(missing)}] and {who}")

    def _authinfo(self) -> dict[str, Any]:
        user = self.users[self.request.user]
        return {
            "user": f"User [name={self.request.user}, backend_roles={user.backend_roles}, "
            f"requestedTenant={self.request.tenant}]",
            "user_name": self.request.user,
            "user_requested_tenant": self.request.tenant,
            "backend_roles": user.backend_roles,
            "roles": user.roles,
            "tenants": {self.request.user: True},
        }


class SecuredHandler(Handler):
    def _refused(self, path: str) -> tuple[int, Any] | None:
        server = self.emulator
        kind, _, encoded = self.headers.get("authorization", "").partition(" ")
        name, _, password = base64.b64decode(encoded if kind == "Basic" else b"").decode().partition(":")
        if name not in server.users or server.users[name].password != password:
            return 401, "Unauthorized"
        server.request.user, server.request.tenant = name, self.headers.get("securitytenant", "null")
        return None

    def _reply(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        if status == 401:
            data, headers = b"Unauthorized", {"content-type": "text/plain; charset=UTF-8"}
            headers["www-authenticate"] = 'Basic realm="OpenSearch Security"'
        super()._reply(status, data, headers)


def _any_fits(patterns: list[str], name: str) -> bool:
    """The plugin's patterns have ``*`` alone, and brackets stand for themselves."""
    return any(fnmatchcase(name, pattern.replace("[", "[[]")) for pattern in patterns)


@contextmanager
def secured_server(
    plugins: tuple[str, ...] = ML_PLUGINS, settings: dict[str, str] | None = None
) -> Iterator[SecuredServer]:
    """A running server on a free port of 127.0.0.1."""
    server = SecuredServer(plugins, settings)
    with serving(type("Handler", (SecuredHandler,), {"emulator": server})) as server.url:
        yield server
