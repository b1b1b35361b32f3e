"""What a node of ML Commons fetches from the internet at its first deploy, and where to put it where it cannot.

Facts: ml-commons sets libtorch's version, ``PYTORCH_PRECXX11`` and the cache folder (DLModel.java of each release); DJL
looks there before it downloads (LibUtils.java). Tokenizers and ONNX Runtime come inside the plugin.
"""

from __future__ import annotations

from dataclasses import dataclass

from osparse.opensearch_versions import server_runtime

HOST = "https://publish.djl.ai/pytorch"
_X86, _ARM = "linux-x86_64", "linux-aarch64"
ARCHITECTURES = {"amd64": _X86, "x86_64": _X86, "aarch64": _ARM, "arm64": _ARM}


@dataclass(frozen=True)
class Download:
    """One thing to fetch, and its place on every node that runs models."""

    url: str
    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.url} -> {self.place} ({self.what})"


def downloads(version: tuple[int, int], architecture: str, data: str) -> list[Download]:
    """What a node downloads for a TorchScript model, in order.

    Args:
        version: Of OpenSearch, major and minor.
        architecture: As the node says: amd64, aarch64.
        data: The node's ``path.data``.
    """
    runtime = server_runtime(version)
    libtorch, djl = runtime.libtorch, runtime.djl
    system = ARCHITECTURES.get(architecture, f"linux-{architecture}")
    flavour = "cpu-precxx11"
    cache = f"{data.rstrip('/')}/ml_cache/pytorch"
    folder = f"{cache}/{libtorch}-{flavour}-{system}"
    return [
        Download(f"{HOST}/{libtorch}/files.txt", f"{cache}/{libtorch}.txt", "the list of files"),
        Download(
            f"{HOST}/{libtorch}/<each line of files.txt that begins with {flavour}/{system}/>",
            f"{folder}/",
            "libtorch: unpack each .gz under its last name, without .gz",
        ),
        Download(
            f"{HOST}/{libtorch}/jnilib/{djl}/{system}/{flavour}/libdjl_torch.so",
            f"{folder}/{djl}-libdjl_torch.so",
            "DJL's bridge to it",
        ),
    ]
