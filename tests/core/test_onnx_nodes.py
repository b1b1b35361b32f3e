"""The operators of an ONNX file against what the onnx package reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from osparse.contracts.bundle import Bundle
from osparse.contracts.zip_members import read_member
from osparse.encoders.onnx_nodes import INTEGER, operators
from osparse.packager.export.onnx import cleaned
from osparse.packager.quantize.choice import parse
from osparse.packager.quantize.rewrite import rewritten


def of_graph(nodes: Any) -> Iterator[str]:
    for node in nodes:
        yield node.op_type
        for attribute in node.attribute:
            for graph in [attribute.g, *attribute.graphs]:
                yield from of_graph(graph.node)


def test_operators_are_those_of_the_onnx_package(bundle: Bundle) -> None:
    plain = read_member(bundle.zip_path("onnx"), "model.onnx")
    for data in (plain, cleaned(rewritten(plain, parse("int8")))):
        assert operators(data) == {*of_graph(onnx.load_from_string(data).graph.node)}
    assert not operators(plain) & INTEGER and operators(cleaned(rewritten(plain, parse("int8")))) & INTEGER


def named_like_an_operator() -> bytes:
    """Addition alone, with the name of an integer operator wherever a text may stand."""
    name = "MatMulInteger"
    shape = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("x", "y")]
    weight = numpy_helper.from_array(np.frombuffer(b"MatMulInteger\0\0\0", np.float32)[:1].copy(), name)
    node = helper.make_node("Add", ["x", name], ["y"], name=name, doc_string=name)
    graph = helper.make_graph([node], name, shape[:1], shape[1:], [weight], doc_string=name)
    return bytes(helper.make_model(graph, producer_name=name, doc_string=name).SerializeToString())


def test_a_name_in_a_text_is_no_operator() -> None:
    assert b"MatMulInteger" in named_like_an_operator()
    assert operators(named_like_an_operator()) == {"Add"}


def test_operators_of_functions_count() -> None:
    inner = helper.make_node("MatMulInteger", ["a", "b"], ["c"])
    function = helper.make_function("own", "Product", ["a", "b"], ["c"], [inner], [helper.make_opsetid("", 17)])
    outer = helper.make_node("Product", ["a", "b"], ["c"], domain="own")
    model = helper.make_model(helper.make_graph([outer], "g", [], []), functions=[function])
    assert operators(model.SerializeToString()) == {"Product", "MatMulInteger"}


@pytest.mark.parametrize("data", [b"\x3a\x7f", b"\x80", b"\x3b"])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        operators(data)
