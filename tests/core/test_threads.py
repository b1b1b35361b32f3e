"""How OpenMP's threads wait: asleep, unless the user says otherwise, in every process that runs osparse."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from osparse.runtime.openmp import WAITING, wait_without_spinning


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"OMP_WAIT_POLICY": "PASSIVE"}),
        ({"OMP_NUM_THREADS": "2"}, {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
        ({"OMP_WAIT_POLICY": ""}, {"OMP_WAIT_POLICY": ""}),
        ({"GOMP_SPINCOUNT": "1000"}, {"GOMP_SPINCOUNT": "1000"}),
        ({"KMP_BLOCKTIME": "200"}, {"KMP_BLOCKTIME": "200"}),
    ],
)
def test_the_users_choice_stays(before: dict[str, str], after: dict[str, str]) -> None:
    wait_without_spinning(before)
    assert before == after


@pytest.mark.parametrize(
    "start",
    [
        ["-c", "import osparse.trainer.training"],
        ["-c", "import osparse.encoders.torch_encoder"],
        ["-m", "osparse", "train", "--help"],
        ["-m", "osparse.deployer.encode.worker", "--nothing"],
    ],
    ids=lambda start: start[-1],
)
def test_it_is_set_before_torch_is_imported(start: list[str]) -> None:
    """In every kind of process: a hook looks at the environment when torch is first looked for, or at the end."""
    hook = (
        "import atexit, os, runpy, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch': show()\n"
        "def show():\n"
        "    print('policy', os.environ.get('OMP_WAIT_POLICY'), file=sys.stderr, flush=True); os._exit(0)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "atexit.register(show)\n"
    )
    kind, what, *more = start
    run = (
        f"exec({what!r})"
        if kind == "-c"
        else f"sys.argv[1:] = {more!r}; runpy.run_module({what!r}, run_name='__main__')"
    )
    plain = {name: value for name, value in os.environ.items() if name not in WAITING}
    done = subprocess.run([sys.executable, "-c", hook + run], env=plain, capture_output=True, text=True, check=False)
    assert "policy PASSIVE" in done.stderr, done.stderr
