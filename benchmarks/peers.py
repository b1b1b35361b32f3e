"""The peers that osparse is measured against, each as PyPI gives it, in a virtual environment of its own.

    python benchmarks/peers.py                          # make all that are missing, print their versions
    python benchmarks/peers.py sentence-transformers    # only this one

In a benchmark: ``peers.python("opensearch-py-ml")`` is that environment's interpreter, made on the first call (about
two minutes and 4 GB of disk each, most of it torch) under build/peers/<name>; run the peer as a child process of
it: ``subprocess.run([python(name), "script.py", ...])``. ``versions(name)`` says what was measured. An environment is
whole when it holds ``.installed``; one that was cut off, or made for other requirements, is made again.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parents[1] / "build" / "peers"
TORCH = "torch==2.15.0"
"""The same for both contenders of every comparison: the torch of osparse's own environment when these were measured."""
REQUIREMENTS = {
    "sentence-transformers": ("sentence-transformers[train]==6.2.0", "transformers==5.23.0", TORCH),
    # It requires none of these, and imports what transformers 5 no longer has.
    "opensearch-py-ml": (
        "opensearch-py-ml==1.3.0", "transformers==4.57.6", "sentence-transformers==5.7.0", "accelerate==1.15.0",
        "mdutils==1.8.1", "onnx==1.23.2", TORCH,
    ),
}  # fmt: skip
"""Peer -> what pip installs; pinned so that a figure can be measured again."""
REPORTED = ("sentence-transformers", "opensearch-py-ml", "transformers", "tokenizers", "torch", "numpy")


def python(name: str) -> Path:
    """The interpreter of a peer's environment, made if it is not there; CalledProcessError if pip fails."""
    home, wanted = HOME / name, "\n".join(REQUIREMENTS[name])
    marker, interpreter = home / ".installed", home / "bin" / "python"
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two benchmarks may want it at once
        if not marker.is_file() or marker.read_text() != wanted:
            print(f"making {home} ...", file=sys.stderr)
            shutil.rmtree(home, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
            subprocess.run([str(interpreter), "-m", "pip", "install", "--quiet", *REQUIREMENTS[name]], check=True)
            marker.write_text(wanted)
    return interpreter


def versions(name: str) -> dict[str, str]:
    """Installed distribution -> version, of those that matter for a comparison."""
    code = (
        "import importlib.metadata as m, json\n"
        f"names = {REPORTED!r}\n"
        "have = {d.metadata['Name'].lower().replace('_', '-'): d.version for d in m.distributions()}\n"
        "print(json.dumps({n: have[n] for n in names if n in have}))"
    )
    done = subprocess.run([str(python(name)), "-c", code], check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def environment(threads: int) -> dict[str, str]:
    """os.environ for a child: ``threads`` for every library, no network, no progress bars of the hub."""
    pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return {**os.environ, **dict.fromkeys(pools, str(threads)), **quiet}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(REQUIREMENTS)}; all if none is given")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in REQUIREMENTS]
    if unknown:
        parser.error(f"unknown peer {unknown[0]!r}; known: {', '.join(REQUIREMENTS)}")
    for name in given.names or REQUIREMENTS:
        print(f"{name}: {python(name)}")
        print("  " + ", ".join(f"{package} {version}" for package, version in versions(name).items()))


if __name__ == "__main__":
    main()
