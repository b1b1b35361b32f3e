"""TorchScript for ML Commons: forward takes one Dict[str, Tensor] and returns {"output": (B, V)}.

torch.jit is deprecated upstream, but it is what the server runs (libtorch 2.5.1 on 3.x, 1.13.1 on 2.x), so all of it
is in this file and its DeprecationWarning is silenced here alone. The encoder is traced as a *function*: its weights
become constants, a tied matrix is stored once, and no module path or mangled class name depends on what was traced
before.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from osparse.encoders.torch_encoder import SparseEncoder
from osparse.errors import BundleError

_jit: Any = torch.jit
"""Its functions are not annotated."""
CHUNK_ELEMENTS = 500_000
"""Logits held at a time for each of up to four texts of a batch (2 MB in fp32)."""
STORED_MODULE = "osparse.packager.torchscript"
"""Module of the functions below as a .pt file names it: a constant, so that moving this file changes no bundle."""
Peak = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]


@contextmanager
def quiet() -> Iterator[None]:
    """Silences what torch says about torch.jit, tracing and export, which is known here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", category=_jit.TracerWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="torch")
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread, as the server runs it; on a busy machine its threads wait for each other 10 times over."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _peak(hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, elements: int) -> Tensor:
    """relu(max over real tokens of hidden @ weight.T + bias): (B, T, H), (B, T) -> (B, V), no (B, T, V) tensor.

    Padding is given the first real token's states, so it changes no maximum; the bias is added after the maximum
    (rounding is monotone: the result is the same); rows are laid out token by token so that a chunk is one product.
    """
    batch, length, width = hidden.size(0), hidden.size(1), hidden.size(2)
    chunk = max(1, elements * min(batch, 4) // (batch * weight.size(0))) * batch
    # float, because ONNX Runtime 1.16.3 has no ArgMax of int64
    first = mask.to(hidden.dtype).argmax(1).unsqueeze(1).unsqueeze(2).expand(batch, 1, width)
    filled = torch.where((mask != 0).unsqueeze(2), hidden, hidden.gather(1, first))
    rows = filled.transpose(0, 1).reshape(length * batch, width)
    columns = weight.t()
    best = torch.full([batch, weight.size(0)], float("-inf"), dtype=hidden.dtype, device=hidden.device)
    for start in range(0, length * batch, chunk):
        logits = torch.mm(rows[start : start + chunk], columns)
        best = torch.maximum(best, logits.reshape(-1, batch, weight.size(0)).amax(0))
    return torch.relu(best + bias) * mask.amax(1, keepdim=True)


def _peak_by_terms(hidden: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, elements: int) -> Tensor:
    """The same in chunks of the vocabulary: a term's logits lie together, so their maximum is read in order.

    Half the time of :func:`_peak` in libtorch; ONNX Runtime would copy the weights chunk by chunk.
    """
    batch, length, width = hidden.size(0), hidden.size(1), hidden.size(2)
    terms = max(1, elements * min(batch, 4) // (batch * length))
    first = mask.to(hidden.dtype).argmax(1).unsqueeze(1).unsqueeze(2).expand(batch, 1, width)
    filled = torch.where((mask != 0).unsqueeze(2), hidden, hidden.gather(1, first))
    columns = filled.reshape(batch * length, width).t().contiguous()
    # filled in place: a list of parts would lie between the chunks and fragment the memory (1 GB for 32 texts)
    best = torch.empty([weight.size(0), batch], dtype=hidden.dtype, device=hidden.device)
    for start in range(0, weight.size(0), terms):
        logits = torch.mm(weight[start : start + terms], columns)
        best[start : start + terms] = logits.reshape(-1, batch, length).amax(2)
    return torch.relu(best.t() + bias) * mask.amax(1, keepdim=True)


def _scripted(function: Peak) -> Peak:
    """``function`` as TorchScript: its loop stays a loop in a trace and becomes a Loop in ONNX."""
    function.__module__ = STORED_MODULE
    with quiet():
        scripted: Peak = _jit.script(function)
    return scripted


peak = _scripted(_peak)
peak_by_terms = _scripted(_peak_by_terms)


class Graph(nn.Module):
    """(B, T) int64 ids and mask -> (B, V) fp32 document weights, activated, masked and pruned; what is packaged."""

    def __init__(self, encoder: SparseEncoder, elements: int = CHUNK_ELEMENTS, peak: Peak = peak_by_terms) -> None:
        super().__init__()
        self.peak = peak
        self.encoder = encoder.eval().requires_grad_(False)
        self.elements = elements
        self.eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        decoder = self.encoder.decoder
        bias = decoder.bias if decoder.bias is not None else decoder.weight.new_zeros(decoder.weight.shape[0])
        ids, mask = self.encoder.network_input(input_ids, attention_mask)
        hidden = self.encoder.hidden(ids, mask)  # the .pt file holds the names of local variables
        best = self.peak(hidden, mask, decoder.weight, bias, self.elements)
        return self.encoder.prune(
            self.encoder.with_lexical(self.encoder.activate(best), input_ids, attention_mask),
            self.encoder.kept_tokens(input_ids, attention_mask),
        )


def example() -> tuple[Tensor, Tensor]:
    """Ids and mask to trace with: two texts, one padded."""
    ids = torch.arange(14).reshape(2, 7) % 5
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    return ids, mask


def export(graph: Graph) -> bytes:
    """The .pt file; the same weights give the same bytes."""

    def forward(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"output": graph(inputs["input_ids"], inputs["attention_mask"])}

    ids, mask = example()
    with quiet(), torch.no_grad():
        traced: Any = _jit.trace(
            forward, ({"input_ids": ids, "attention_mask": mask},), strict=False, check_trace=False
        )
        buffer = io.BytesIO()
        _jit.save(traced, buffer)
    return _without_debug(buffer.getvalue())


def _without_debug(data: bytes) -> bytes:
    """Drop the debug records: they hold this machine's source paths.

    ``.data/version`` is kept: by it libtorch knows which meaning of an operator (div, full, gelu) the file has.
    """
    reader = torch._C.PyTorchFileReader(io.BytesIO(data))
    out = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(out)
    for name in reader.get_all_records():
        if not name.endswith(".debug_pkl") and name not in ("byteorder", ".data/serialization_id"):
            record = reader.get_record(name)
            writer.write_record(name, record, len(record))
    writer.write_record("byteorder", b"little", len(b"little"))
    writer.write_end_of_file()
    return out.getvalue()


class TorchScriptRunner:
    """Runs a .pt file as the server does."""

    def __init__(self, data: bytes, source: str = "the .pt file") -> None:
        """Raises :class:`BundleError` naming ``source`` if torch cannot load it."""
        try:
            with quiet():
                self.module = _jit.load(io.BytesIO(data), map_location="cpu").eval()
        except RuntimeError as problem:
            first = str(problem).strip().splitlines()[0]
            raise BundleError(f"{source}: torch cannot load the model: {first}; run: osparse package") from None

    def __call__(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """(B, T), (B, T) -> (B, V)."""
        # A few calls do not repay the seconds that fusing takes.
        with one_thread(), torch.inference_mode(), _jit.optimized_execution(False):
            answer = self.module({"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)})
        weights: NDArray[np.float32] = answer["output"].numpy()
        return weights
