"""An index that osparse did not make, and what tests of its adoption ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lookup_bundle import TEXTS
from mlcommons_server import MLCommonsServer

from osparse.contracts.bundle import Bundle
from osparse.contracts.deployment import FIELD
from osparse.deployer import Adoption, Cluster, deploy
from osparse.deployer.load.documents import HASH_FIELD

TEXT = {"text_template": "{name}\n{about}"}
FIELDS = {f"f{n}": {"type": kind} for n, kind in enumerate(["keyword", "long", "double", "date", "boolean"] * 6)}
OLD: dict[str, Any] = {
    "settings": {"index": {"number_of_shards": "1", "codec": "best_compression"}},
    "mappings": {
        "dynamic": "strict",
        "properties": {"name": {"type": "text"}, "about": {"type": "text"}, "price": {"type": "double"}, **FIELDS},
    },
    "aliases": {"products": {}, "cheap": {"filter": {"range": {"price": {"lt": 10}}}}},
}


def document(n: int, name: str = "") -> dict[str, Any]:
    return {"name": name or TEXTS[n % len(TEXTS)], "about": f"about {n}", "price": n, "f0": str(n)}


def fill(server: MLCommonsServer, index: str = "products-v7", count: int = 20, **parts: Any) -> None:
    Cluster(server.url).request("PUT", f"/{index}", body={**OLD, **parts})
    for n in range(count):
        server.indices[index].put(str(n), document(n))


def adopted(server: MLCommonsServer, bundle: Bundle, source: str = "products-v7", **options: Any) -> Any:
    upgrade = options.pop("upgrade", None)
    adoption = Adoption(source, **options)
    cluster = Cluster(server.url, backoff=0.01)
    return deploy(bundle, cluster, "products", serving=TEXT, adoption=adoption, upgrade=upgrade)


def contents(server: MLCommonsServer, index: str) -> dict[str, Any]:
    left = {FIELD, HASH_FIELD, "text"}
    return {
        i: {name: value for name, value in source.items() if name not in left}
        for i, source in server.indices[index].documents.items()
    }


def meanwhile(server: MLCommonsServer, pattern: str, act: Callable[[], object], times: int = 1) -> None:
    """Do something just before the server answers the first calls of a kind."""
    plain, left = server.answer, [times]

    def answer(method: str, path: str, query: dict[str, str], kind: str, data: bytes) -> tuple[int, Any]:
        if left[0] and f"{method} {path}".endswith(pattern):
            left[0] -= 1
            act()
        return plain(method, path, query, kind, data)

    server.answer = answer  # type: ignore[method-assign]
