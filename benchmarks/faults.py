"""Strike a deploy, a load and an undeploy with each kind of fault at each call, run again, compare with a clean run.

    python benchmarks/faults.py [--every 3] [--ground emulator|node|both] [--home build/faults-node]

Kinds: dropped before sending, done but the answer lost, answered 429, 500, 503, garbage, late, and the process killed
(SIGKILL) before and after the call. The grounds: a server that answers as ML Commons does (of tests/support),
and the real embedded OpenSearch, in mode client. The runs: a first deploy with its load, and an upgrade to another
bundle beside it (documents copied, gate, alias moved), and an undeploy of what served before that upgrade.

Every trial starts from nothing and ends with one run without faults; it holds if what is then there (models, groups,
pipelines, indices, aliases, each document's content) is what an undisturbed run leaves. Exits 3 if one does not hold,
or if there were fewer than 60.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
AT_LEAST = 60
DOCUMENTS = 40

from fault_trials import KINDS, EmulatorGround, Ground, NodeGround, Trial, Trials  # noqa: E402
from fault_work import Undeploy, Work  # noqa: E402
from lookup_bundle import TEXTS, make_lookup_bundle  # noqa: E402
from mlcommons_server import mlcommons_server  # noqa: E402

from osparse.deployer import node_down, node_up  # noqa: E402
from osparse.io.progress import track  # noqa: E402


def grounds(wanted: str, home: Path) -> Iterator[tuple[str, Ground]]:
    if wanted != "node":
        with mlcommons_server() as server:
            yield "ML Commons (emulator)", EmulatorGround(server)
    if wanted != "emulator":
        try:
            yield "OpenSearch 3.8.0, mode client", NodeGround(str(node_up(home, port=0, tied=True).url))
        finally:
            node_down(home)


def works(folder: Path) -> dict[str, tuple[Work, tuple[Work, ...]]]:
    documents = folder / "documents.jsonl"
    rows = [{"id": f"d{n}", "text": f"{TEXTS[n % len(TEXTS)]} {n}"} for n in range(DOCUMENTS)]
    documents.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    made = []
    for seed in (0, 1):
        (folder / str(seed)).mkdir()
        made.append(Work(make_lookup_bundle(folder / str(seed), seed=seed).path, documents))
    return {
        "deploy and load": (made[0], ()),
        "upgrade": (made[1], (made[0],)),
        "undeploy": (Undeploy(made[0].bundle, documents), tuple(made)),
    }


def row(where: str, what: str, kind: str, trials: list[Trial]) -> str:
    unhurt = sum(not trial.said for trial in trials)
    orphans = sum(any("models" in line for line in trial.differences) for trial in trials)
    documents = sum(any("documents" in line for line in trial.differences) for trial in trials)
    held = sum(trial.converged for trial in trials)
    share = f"{held / len(trials):.0%}"
    return f"| {where} | {what} | {kind} | {len(trials)} | {unhurt} | {held} ({share}) | {orphans} | {documents} |"


def measure(where: str, ground: Ground, folder: Path, every: int) -> list[Trial]:
    found: list[Trial] = []
    for what, (work, before) in works(folder).items():
        trials = Trials(ground, work, before)
        trials.prepare()
        kinds = defaultdict(list)
        total = len(trials.calls) * len(KINDS) // every
        for trial in track(trials.run(every=every), f"{where}, {what}", total, "faults"):
            kinds[trial.kind].append(trial)
            for line in trial.differences:
                print(f"{trial.kind} at call {trial.number}, {trial.call} ({trial.said}): {line}", file=sys.stderr)
        for kind, some in kinds.items():
            print(row(where, what, kind, some), flush=True)
            found += some
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=3, help="strike every n-th call with each kind")
    parser.add_argument("--ground", choices=["emulator", "node", "both"], default="both")
    parser.add_argument("--home", type=Path, default=Path("build/faults-node"))
    given = parser.parse_args()
    started, found = time.monotonic(), list[Trial]()
    print(
        "| server | run | fault | struck | finished all the same | as a clean run after the next | orphan models | ",
        end="",
    )
    print("documents lost or doubled |\n|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="osparse-faults-") as name:
        for number, (where, ground) in enumerate(grounds(given.ground, given.home)):
            folder = Path(name) / str(number)
            folder.mkdir()
            found += measure(where, ground, folder, given.every)
    held = sum(trial.converged for trial in found)
    print(f"\n{held} of {len(found)} faults left what a clean run leaves ({time.monotonic() - started:.0f} s)")
    sys.exit(0 if held == len(found) >= AT_LEAST else 3)


if __name__ == "__main__":
    main()
