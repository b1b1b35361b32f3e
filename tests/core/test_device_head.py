"""The Triton kernels of the sparse head, run by Triton's interpreter on the CPU, against the plain path.

A process of their own: Triton decides when it is imported whether its functions are interpreted.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")
CODE = """
import torch
from osparse.encoders import sparse_head
from osparse.encoders.kernels import device_head

assert device_head.usable(torch.device("cpu"))
generator = torch.Generator().manual_seed(1)
for batch, length, width, vocabulary in ((3, 70, 40, 131), (1, 1, 129, 1), (2, 64, 32, 256)):
    hidden = torch.randn(batch, length, width, generator=generator)
    weight, bias = torch.randn(vocabulary, width, generator=generator), torch.randn(vocabulary, generator=generator) - 8
    mask = torch.ones(batch, length, dtype=torch.bool)
    mask[0, length // 2 + 1:] = False
    mask[batch - 1] &= batch == 1  # padding only
    seed = torch.randn(batch, vocabulary, generator=generator)
    found = []
    for kernels in (device_head, None):
        sparse_head._by_document = lambda hidden: False
        sparse_head._device_kernels = lambda hidden: kernels
        inputs = [tensor.clone().requires_grad_() for tensor in (hidden, weight, bias)]
        weights = sparse_head.max_over_tokens(inputs[0], mask, inputs[1], inputs[2])
        found.append([weights, *torch.autograd.grad((weights * seed).sum(), inputs)])
    assert vocabulary == 1 or found[1][0].any()
    for mine, plain in zip(*found, strict=True):
        torch.testing.assert_close(mine, plain, rtol=0, atol=1e-4)
empty = device_head.largest(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.bool), torch.ones(9, 4))
assert (empty[0] == -torch.inf).all()
original, device_head.gradients = device_head.gradients, lambda *tensors: [2 * g for g in original(*tensors)]
device_head.usable.cache_clear()
assert not device_head.usable(torch.device("cpu"))  # other numbers are found out
"""


def test_they_give_the_plain_paths_weights_and_gradients() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert not done.returncode, done.stderr
