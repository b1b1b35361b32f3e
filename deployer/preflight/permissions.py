"""Whether the user may make the calls of a deploy: each is sent as a dry run, where the security plugin offers that."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from osparse.deployer.cluster.client import Cluster
from osparse.deployer.names import BUNDLES_INDEX
from osparse.deployer.preflight.checks import Check
from osparse.deployer.preflight.requests import Call, PreflightRequests

_ML = "/_plugins/_ml"
_NOTHING = "osparse-preflight"
"""Names what does not exist in a dry run, where nothing is looked up."""
_BULK = b'{"index": {"_id": "osparse-preflight"}}\n{"text": ""}\n'
_LINES = "application/x-ndjson"


def permission_checks(cluster: Cluster, calls: list[Call], what: str) -> Iterator[Check]:
    """What the user lacks for ``calls``; nothing where there is no security plugin."""
    requests = PreflightRequests(cluster)
    user = requests.user()
    if not user:
        return
    roles = ", ".join(user.get("roles", [])) or "none"
    who = f"user {user.get('user_name')} (roles: {roles})"
    if not requests.dry_runs():
        yield Check(
            "note",
            f"{who}: this version of the security plugin does not say which calls are permitted (3.2 and later do); "
            f"the permissions that {what} needs are in docs/operating.md",
        )
        return
    missing, silent = dict[str, str](), list[str]()
    for call in calls:
        lacking = requests.missing_permissions(call)
        if lacking is None:
            silent.append(str(call))
        for permission in lacking or []:
            missing.setdefault(permission, str(call))
    if missing:
        listed = ", ".join(f"{permission} ({call})" for permission, call in sorted(missing.items()))
        yield Check("blocked", f"{who} lacks permissions that {what} needs: {listed}")
    if silent:
        yield Check("note", f"the server does not say whether {who} may do {', '.join(silent)}")
    if not missing:
        yield Check("ok", f"{who} may make the {len(calls) - len(silent)} calls of {what} that were asked for")


def deploy_calls(alias: str, index: str, old: str | None, *, ml: bool, semantic: bool = False) -> list[Call]:
    """What a deploy changes or starts, one call of each kind; what its plan reads was read already.

    Args:
        old: The index whose documents are copied, if there is one.
        ml: Whether models and pipelines are made.
        semantic: Whether the index's field encodes by itself, without an ingest pipeline.
    """
    name, add = quote(index, safe=""), {"actions": [{"add": {"index": old or index, "alias": alias}}]}
    calls = [
        Call("PUT", f"/{name}", {}),
        Call("POST", "/_aliases", add),
        Call("PUT", f"/{BUNDLES_INDEX}", {}),
        *_writing(BUNDLES_INDEX),
        Call("POST", f"/{BUNDLES_INDEX}/_mget", {"ids": [_NOTHING]}),
    ]
    if old is not None:
        kept = quote(old, safe="")
        calls += [
            Call("POST", f"/{kept}/_refresh"),
            Call("POST", f"/{kept}/_search", {"size": 0}),
            Call("POST", "/_search/scroll", {"scroll": "1m", "scroll_id": _NOTHING}),
            Call("DELETE", "/_search/scroll", {"scroll_id": [_NOTHING]}),
            Call("GET", f"/{kept}/_stats"),
            *_writing(name),
            Call("POST", f"/{name}/_mget", {"ids": [_NOTHING]}),
            Call("POST", f"/{name}/_refresh"),
        ]
    if ml and old is not None:
        document = {"_source": {"text": ""}}
        calls.append(Call("POST", f"/_ingest/pipeline/{_NOTHING}/_simulate", {"docs": [document]}))
    return [*calls, *(_model_calls(semantic=semantic) if ml else [])]


def _writing(index: str) -> list[Call]:
    """A bulk asks for the right to send one, a single document for the right to write into the index."""
    return [
        Call("POST", f"/{index}/_bulk", _BULK, _LINES),
        Call("PUT", f"/{index}/_doc/{_NOTHING}", {}),
    ]


def _model_calls(*, semantic: bool) -> list[Call]:
    meta = {
        "name": _NOTHING, "version": "1", "model_format": "TORCH_SCRIPT", "function_name": "SPARSE_ENCODING",
        "total_chunks": 1, "model_content_size_in_bytes": 1, "model_content_hash_value": "0" * 64,
    }  # fmt: skip
    ingest = [] if semantic else [Call("PUT", f"/_ingest/pipeline/{_NOTHING}", {"processors": []})]
    return [
        Call("POST", f"{_ML}/model_groups/_register", {"name": _NOTHING}),
        Call("POST", f"{_ML}/models/_register_meta", meta),
        Call("POST", f"{_ML}/models/{_NOTHING}/upload_chunk/0", b"0"),
        Call("POST", f"{_ML}/models/{_NOTHING}/_deploy"),
        Call("GET", f"{_ML}/models/{_NOTHING}"),
        Call("GET", f"{_ML}/tasks/{_NOTHING}"),
        Call("POST", f"{_ML}/_predict/sparse_encoding/{_NOTHING}", {"text_docs": ["a"]}),
        *ingest,
        Call("PUT", f"/_search/pipeline/{_NOTHING}", {}),
    ]
