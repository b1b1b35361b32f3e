"""The command line's shorter import of transformers: the same weights, and nothing is missing afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import world

from osparse.cli.main import main
from osparse.masked_lm import lean_imports
from osparse.packager.checkpoint.loaded import LoadedModel

HEAVY = (
    "torch._dynamo",
    "torch._inductor",
    "torch.distributed.tensor",
    "accelerate",
    "scipy",
    "sympy",
)
LOADS = """
import sys
from pathlib import Path
import numpy as np
from osparse.contracts.model import Model
from osparse.masked_lm import lean_imports
{before}
lean_imports.import_model_classes()
from osparse.packager.checkpoint.loaded import LoadedModel
loaded = LoadedModel.open(Model.open(Path(sys.argv[1])))
ids = np.arange(5, 17)[None]
np.save(sys.argv[2], loaded.run(ids, np.ones_like(ids)))
print(*(name for name in sys.argv[3:] if name in sys.modules))
{after}
"""
WORKS = """
from transformers import CamembertForMaskedLM
import torch, accelerate, transformers.models
assert "CamembertForMaskedLM" in dir(transformers) and transformers.models.camembert and not hasattr(transformers, "x")
assert accelerate.Accelerator
assert float(torch.compile(lambda x: x + 1, backend="eager")(torch.ones(()))) == 2
import transformers.masking_utils, scipy.optimize
with transformers.masking_utils.TransformGetItemToIndex():
    pass
assert torch.nn.Embedding(3, 2).weight.any() and torch.empty_like(torch.ones(2, 2).T).stride() == (1, 2)
"""


def run(model: Path, output: Path, before: str, after: str = "") -> list[str]:
    code = LOADS.format(before=before, after=after)
    done = subprocess.run(
        [sys.executable, "-c", code, str(model), str(output), *HEAVY], check=True, capture_output=True, text=True
    )
    return done.stdout.split()


def test_it_gives_the_same_weights_without_what_no_model_needs(tmp_path: Path) -> None:
    model = world.make_model(tmp_path / "model", lexical=True)
    assert run(model.path, tmp_path / "lean.npy", "lean_imports.allow()", WORKS) == []
    ids = np.arange(5, 17)[None]
    expected = LoadedModel.open(model).run(ids, np.ones_like(ids))
    assert expected.any()
    np.testing.assert_allclose(np.load(tmp_path / "lean.npy"), expected, atol=1e-6)


def test_a_transformers_that_runs_something_deferred_is_imported_as_ever(tmp_path: Path) -> None:
    model = world.make_model(tmp_path / "model").path
    fail = "lean_imports.ShortListing.grow = lambda _: 1 / 0; lean_imports.allow()"
    assert set(HEAVY) == set(run(model, tmp_path / "weights.npy", fail))
    assert np.load(tmp_path / "weights.npy").any()


def test_only_the_process_of_a_command_asks_for_it(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["package", str(tmp_path), "--output", str(tmp_path / "bundle")])
    assert not lean_imports._allowed
