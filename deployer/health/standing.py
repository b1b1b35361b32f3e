"""Under which name an index serves, and where it does not serve yet: what was begun, and the command that ends it."""

from __future__ import annotations

from osparse.contracts.deployment import Deployment
from osparse.deployer.adopt.record import Record, adoption_record
from osparse.deployer.cluster.api import ClusterApi
from osparse.deployer.index.generations import SUFFIX


def examine_standing(
    api: ClusterApi, name: str, deployment: Deployment, aliases: list[str], documents: int | None
) -> tuple[list[str], list[str]]:
    """Problems and notes about the name it serves under."""
    if not name.endswith(f"-{deployment.fingerprint[:12]}"):
        return [f"its name does not carry its fingerprint {deployment.fingerprint[:12]}; was it renamed or copied?"], []
    base = name[: -len(deployment.fingerprint[:12]) - 1]
    record = adoption_record(api, name)
    if base in aliases:
        return ([_still_blocked(record, base)] if record is not None and record.blocked else []), []
    serving = api.indices_of_alias(base)
    if record is not None and f"{base}{SUFFIX}" not in aliases and _is_unfinished(record, serving):
        return [_unfinished_adoption(api, base, record, documents)], []
    if not serving:
        return ["no alias points to the index; run osparse deploy again"], []
    if f"{base}{SUFFIX}" in aliases:
        return [], [f"it served {base} before; {', '.join(serving)} does"]
    if documents is not None and api.creation_date(name) > max(map(api.creation_date, serving)):
        return [_unfinished(api, base, deployment, documents, serving[0])], []
    return [], [f"it does not serve {base}; {', '.join(serving)} does"]


def _unfinished(api: ClusterApi, base: str, deployment: Deployment, documents: int, serving: str) -> str:
    total = api.count_unless_closed(serving)
    of = f" of {total:,}" if total is not None else ""
    return (
        f"unfinished upgrade, {documents:,}{of} documents; resume with: osparse deploy BUNDLE --index {base} (bundle "
        f"{deployment.bundle}, fingerprint {deployment.fingerprint[:12]})"
    )


def _is_unfinished(record: Record, serving: list[str]) -> bool:
    """Whether the name has not moved yet: ``served`` is recorded just before that."""
    return not record.served or record.blocked or serving in ([], [record.source])


def _unfinished_adoption(api: ClusterApi, base: str, record: Record, documents: int | None) -> str:
    """Of an index that is being filled from one that osparse did not make."""
    here = record.url is None and api.index_uuid(record.source) == record.uuid
    total = api.count_unless_closed(record.source) if here else None
    of = f" of {total:,}" if total is not None else ""
    replaced = " --replace-index" if record.url is None and record.source == base else ""
    dated = f" --changed-field {record.changed_field}" if record.changed_field is not None else ""
    blocked = f"; {record.shown} refuses writes until then" if record.blocked else ""
    return (
        f"unfinished adoption, {documents or 0:,}{of} documents; resume with: osparse deploy BUNDLE --index {base} "
        f"--from {record.shown}{replaced}{dated}{blocked}"
    )


def _still_blocked(record: Record, base: str) -> str:
    """Of an adoption that was stopped between the move of the name and its end."""
    return (
        f"an interrupted adoption left {record.shown} refusing writes; let it take them again with: osparse deploy "
        f"BUNDLE --index {base} --from {record.shown}"
    )
