"""Why a model could not be deployed, node by node, and what to do about the reasons that are known."""

from __future__ import annotations

import re
from collections.abc import Mapping

REMEDIES: tuple[tuple[str, str], ...] = (
    (
        r"trusted connector endpoint|private ip address",
        "the cluster may not call the encoder's address: deploy with `allow_settings=True`",
    ),
    (
        r"Error communicating with remote model|unknown_host|UnknownHost.*encode",
        "the nodes do not get an answer from the encoder: `encoder_url` must be right as seen from them, and osparse "
        "serve must run there",
    ),
    (
        r"bearer token is missing or wrong",
        "set OSPARSE_SERVE_TOKEN to the encoder's token in the environment of osparse deploy",
    ),
    (
        r"allow_registering_model_via_local_file",
        "models may not be uploaded from a file on this cluster: deploy with `allow_settings=True`, or set "
        "plugins.ml_commons.allow_registering_model_via_local_file to true",
    ),
    (
        r"allow_registering_model_via_url",
        "models may not be fetched from an address on this cluster: deploy with `allow_settings=True`, or set "
        "plugins.ml_commons.allow_registering_model_via_url to true",
    ),
    (
        r"Disk Circuit Breaker",
        "the node is short of disk space: free some, or lower plugins.ml_commons.disk_free_space_threshold (5 GB by "
        "default)",
    ),
    (
        r"Connection refused|No such file or directory|Connection timed out|FileNotFound|trusted_url|doesn't match",
        "the server cannot fetch the zip from the address in `via_url`: it must be right as seen from the nodes, not "
        "from here; without `via_url` osparse sends the zips itself",
    ),
    (
        r"model content changed",
        "the stored chunks do not make the uploaded file again, not even after a second upload: check the health of "
        "the index .plugins-ml-model and the disks, then run osparse deploy again",
    ),
    (
        r"Fail(ed)? to find model chunk|Failed to deploy model$",
        "a chunk is missing on the server: check the health of the index .plugins-ml-model, then deploy again",
    ),
    (
        r"Circuit Breaker is open|Data too large|OutOfMemory",
        "the node is short of memory: free some, give the node more heap or memory, or raise "
        "plugins.ml_commons.native_memory_threshold and plugins.ml_commons.jvm_heap_memory_threshold (100 is off)",
    ),
    (
        r"No eligible node|no (available )?ml node",
        "no node may run models: add a node with the ml role, or set plugins.ml_commons.only_run_on_ml_node to false",
    ),
    (
        r"Exceed max (local )?model",
        "the node runs as many models as it may: undeploy some, or raise plugins.ml_commons.max_model_on_node",
    ),
    (
        r"publish\.djl\.ai|UnknownHost|native library|Failed to (download|load PyTorch)|Cannot download",
        "the server fetches its PyTorch library at the first deploy and could not: let it reach publish.djl.ai, or put "
        "the files there by hand (osparse doctor --cluster URL lists them and their place)",
    ),
    (
        r"Unknown builtin op|Unsupported model IR version|ORT_FAIL|Unsupported operator",
        "the server's runtime is older than the packaged model: package it for this version, or in the other format "
        "(`format` of osparse package)",
    ),
    (
        r"Tokenizer file not exits|file not found in|Archive is not a ZIP|found multiple models|PytorchStreamReader|"
        r"Model missing|Expected (a double|BEGIN_)|Bad zip entry",
        "the zip is not what the server expects: check it with osparse verify BUNDLE, or package the model again",
    ),
    (r"timeout after", "the server gave up after its own time limit: look into its log"),
)
"""Pattern of a server's reason -> what to do."""

MODEL_CHANGED = re.compile(r"model content changed")
RETRY_DEPLOY = MODEL_CHANGED
"""Right after an upload this can be a slow read on the server: deploying again may do."""
UPLOAD_AGAIN = re.compile(r"model content changed|Fail(ed)? to find model chunk|Failed to deploy model$")
"""What is stored is not whole."""


def remedy(reason: str) -> str | None:
    """What to do about a server's reason, if it is a known one."""
    return next((text for pattern, text in REMEDIES if re.search(pattern, reason, re.IGNORECASE)), None)


def with_remedy(message: str) -> str:
    """The message, followed by what to do about the reason in it, if it is a known one."""
    known = remedy(message)
    return f"{message}; what to do: {known}" if known else message


def fetch_text(model: str, url: str, reason: str) -> str:
    """Why the server could not register a model from an address."""
    start = f"model {model} could not be registered from {url}: "
    if reason.strip() == url:  # Java's message for a file that does not exist is its name alone
        return f"{start}the address gives no such file; check that the bundle's zips are there, under their own names"
    if MODEL_CHANGED.search(reason):
        return f"{start}the file at the address is not this bundle's (sha256 differs); put the bundle's zips there"
    return with_remedy(start + reason)


def failure_text(model: str, errors: Mapping[str, str], node_names: Mapping[str, str]) -> str:
    """One message: per node its reason, then each remedy once."""
    lines = [f"model {model} could not be deployed:"]
    for node, reason in errors.items():
        where = f"node {node_names.get(node, node)}: " if node else ""
        lines.append(f"  {where}{' '.join(reason.split())[:500]}")
    known = dict.fromkeys(text for reason in errors.values() if (text := remedy(reason)))
    return "\n".join([*lines, *(f"  what to do: {text}" for text in known)])
