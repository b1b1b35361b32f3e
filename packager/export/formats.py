"""What an encoder is packaged as: a format knows its model file, how to export it, and how it runs here and there.

osparse's own are listed in ``osparse.plugins.entry_points``; another package brings one as an entry point of the group
``osparse.formats``: a name and a class made without arguments.
This file imports no torch, so that a bundle can be verified where there is none.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, runtime_checkable

from osparse.contracts.zip_members import read_member
from osparse.encoders.onnx_session import open_runner
from osparse.errors import InputError
from osparse.opensearch_versions import Target
from osparse.packager.compare.parity import Runner
from osparse.packager.quantize.choice import Quantization
from osparse.plugins import entry_points

if TYPE_CHECKING:
    from osparse.packager.export.torchscript import Graph, TorchScriptRunner

Read = TypeVar("Read")
OWN = tuple(entry_points.OWN[entry_points.FORMATS])
"""Packaged by default, in this order; the first of a bundle is the one a server is given."""


@runtime_checkable
class Format(Protocol):
    """What osparse asks of a format."""

    model_file: str
    """Name of the model in the zip. The server wants exactly one .pt (TORCH_SCRIPT) or one .onnx (ONNX)."""
    model_format: str
    """What the server calls it: TORCH_SCRIPT or ONNX."""
    modules: Sequence[str]
    """What must be importable to export it."""

    def export(self, graph: Graph, quantize: Quantization | None) -> bytes:
        """The model file; the same graph gives the same bytes. Raises :class:`InputError` for what it cannot do."""

    def open(self, data: bytes, source: str) -> Runner | None:
        """Runs the model file on (B, T) ids and mask -> (B, V); None where its runtime is not installed.

        Raises :class:`BundleError` naming ``source`` if the file is broken.
        """

    def problems(self, data: bytes, target: Target) -> list[str]:
        """Why the file would not run on the target, in words; [] if nothing is known against it."""

    def proof(self, target: Target) -> str:
        """What :meth:`problems` has shown when it finds nothing."""


class _Last(Generic[Read]):
    """What was read from the last model file: every target asks for the same, and reading takes seconds."""

    def __init__(self, read: Callable[[bytes, str], Read]) -> None:
        self._read = read
        self._last: tuple[bytes, Read] | None = None

    def __call__(self, data: bytes, source: str = "the model file") -> Read:
        if self._last is None or self._last[0] is not data:
            self._last = data, self._read(data, source)
        return self._last[1]


class TorchScript:
    """TorchScript, which libtorch runs on one thread."""

    model_file = "model.pt"
    model_format = "TORCH_SCRIPT"
    modules = ("torch", "transformers")

    def __init__(self) -> None:
        self._runner = _Last(_torchscript_runner)

    def export(self, graph: Graph, quantize: Quantization | None) -> bytes:
        from osparse.packager.export import torchscript

        if quantize:
            raise InputError(
                f"`quantize={quantize}` is for ONNX: libtorch runs int8 TorchScript too, but no faster (130 ms of "
                "processor time against 126 for 512 tokens, measured) and with other tokens; pass `formats=onnx`"
            )
        return torchscript.export(graph)

    def open(self, data: bytes, source: str) -> Runner | None:
        if importlib.util.find_spec("torch") is None:
            return None
        return self._runner(data, source)

    def problems(self, data: bytes, target: Target) -> list[str]:
        from osparse.packager.export import operators

        unknown = operators.unknown(self._runner(data).module, target.libtorch)
        return [f"libtorch {target.libtorch} is not known to have {', '.join(unknown)}"] if unknown else []

    def proof(self, target: Target) -> str:
        return f"every operator is in libtorch {target.libtorch}"


def _torchscript_runner(data: bytes, source: str) -> TorchScriptRunner:
    from osparse.packager.export.torchscript import TorchScriptRunner

    return TorchScriptRunner(data, source)


class Onnx:
    """ONNX, which ONNX Runtime 1.16.3 runs on as many threads as it likes."""

    model_file = "model.onnx"
    model_format = "ONNX"
    modules = ("torch", "transformers", "onnx")

    def __init__(self) -> None:
        self._problems = _Last(_onnx_problems)

    def export(self, graph: Graph, quantize: Quantization | None) -> bytes:
        from osparse.packager.export import onnx

        data = onnx.export(graph)
        if quantize:
            from osparse.packager.quantize.rewrite import rewritten

            return onnx.cleaned(rewritten(data, quantize))
        return data

    def open(self, data: bytes, source: str) -> Runner | None:
        return open_runner(data, source)

    def problems(self, data: bytes, target: Target) -> list[str]:
        return self._problems(data)

    def proof(self, target: Target) -> str:
        return f"IR, opset and every operator are what ONNX Runtime {target.onnxruntime} reads"


def _onnx_problems(data: bytes, source: str) -> list[str]:
    from osparse.packager.export import onnx

    return onnx.problems(data)


def known() -> list[str]:
    """Names of every format installed, osparse's own first."""
    return list(entry_points.known(entry_points.FORMATS))


def get(name: str) -> Format:
    """The format of a name; raises :class:`InputError` for an unknown or broken one."""
    form = entry_points.load(entry_points.FORMATS, name)()
    if not isinstance(form, Format):
        raise InputError(
            f"the format {name!r} ({type(form).__name__}) is not an osparse.packager.export.formats.Format"
        )
    return form


def open_runners(zips: Mapping[str, Path]) -> dict[str, Runner]:
    """Format -> what runs that zip's model here; formats whose runtime is not installed are left out."""
    runners = {name: get(name).open(read_member(path, get(name).model_file), str(path)) for name, path in zips.items()}
    return {name: runner for name, runner in runners.items() if runner is not None}
