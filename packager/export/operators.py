"""Which TorchScript operators a server's libtorch has: a graph traced with a newer torch may hold others.

The names were read from the libraries that DJL ships for libtorch 1.13.1 and 2.5.1: every overload of ``ALWAYS`` that
torch knows today is in both with as many arguments, save those of ``NEWER`` and ``TOO_NEW``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

ALWAYS = frozenset(
    (
        "Bool Float Int ScalarImplicit __and__ __derive_index __floordiv__ __getitem__ __isnot__ __or__ "
        "__range_length abs add add_ addmm all amax amin any append arange argmax avg_pool1d baddbmm bitwise_and "
        "bitwise_not bitwise_or bmm cat ceil chunk clamp clamp_max clamp_min clone concat contiguous conv1d copy_ cos "
        "cumsum detach div dropout einsum elu embedding empty empty_like eq erf exp expand expand_as fill_ flatten "
        "flip floor floor_divide floordiv full full_like gather ge gelu glu group_norm gt hardswish hardtanh index "
        "index_select isinf isnan item layer_norm le leaky_relu len linear log log1p log_softmax logical_and "
        "logical_not logical_or lt masked_fill matmul max maximum mean min minimum mish mm movedim mul narrow ne neg "
        "new_empty new_full new_ones new_zeros norm numpy_T ones ones_like outer pad permute pow reciprocal relu "
        "remainder repeat repeat_interleave reshape roll round rsqrt rsub scalar_tensor scatter_add select selu "
        "sigmoid sign silu sin size slice softmax softplus split split_with_sizes sqrt square squeeze stack std sub "
        "sum t tanh tensor tile to topk transpose tril triu type_as unbind unflatten unsqueeze var view where zeros "
        "zeros_like "
    ).split()
)
"""aten operators in libtorch 1.13.1 and later with the arguments that tracing gives them."""
NEWER = frozenset({"scaled_dot_product_attention", "rms_norm", "all.dims", "any.dims", "squeeze.dims"})
"""In libtorch 2.5.1 and not in 1.13.1."""
TOO_NEW = frozenset({"add.str", "addmm.dtype", "baddbmm.dtype", "bmm.dtype", "mm.dtype"})
"""In neither."""


def unknown(module: Any, libtorch: str) -> list[str]:
    """Operators of a loaded TorchScript module not known to be in ``libtorch`` (1.13.1 or 2.5.1), sorted."""
    return sorted({name for name in _used(module.inlined_graph) if not _has(name, libtorch)})


def _has(name: str, libtorch: str) -> bool:
    if name.startswith("prim::"):
        return True
    if not name.startswith("aten::") or name[6:] in TOO_NEW:
        return False
    plain = name[6:].partition(".")[0]
    if {name[6:], plain} & NEWER:
        return libtorch != "1.13.1"
    return plain in ALWAYS


def _used(graph: Any) -> Iterator[str]:
    """``aten::where.ScalarOther`` and so on, of a graph or block and all within it."""
    for node in graph.nodes():
        schema = node.schema()
        yield schema.partition("(")[0] if schema != "(no schema)" else node.kind()
        for block in node.blocks():
            yield from _used(block)
