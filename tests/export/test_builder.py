"""The graph builder: names and shapes of persistent tensors, the functions a graph carries, and its seals."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgesnn.errors import ExportError
from edgesnn.export.builder import BATCH, GraphBuilder, finish
from edgesnn.runtime.content import CONTENT_HASH, SOURCE_HASH, content_hash


def integrator(leak=3, weight=0):
    builder = GraphBuilder()
    builder.input("I", "int32", [BATCH, 2])
    builder.constant("leak", np.array([leak], np.int32))
    builder.param("w", np.array([weight], np.int8))
    builder.state("acc", (2,))
    builder.call("LeakyIntegrate", "sum", ["acc", "I", "leak"], ["y"])
    builder.standard("Identity", "keep", ["y"], ["acc.new"])
    builder.output("y", "int32", [BATCH, 2])
    return builder


def shape(entry):
    return [dim.dim_param or dim.dim_value for dim in entry.type.tensor_type.shape.dim]


def properties(model):
    return {entry.key: entry.value for entry in model.metadata_props}


def test_states_are_batched_and_parameters_have_a_factory_value():
    builder = integrator()
    builder.state("t", (1,), batched=False)
    builder.call("NextStep", "t.next", ["t"], ["t.new"], steps=2)
    model = builder.build("step", {}, "doc")
    inputs = {entry.name: shape(entry) for entry in model.graph.input}
    assert inputs == {"I": ["N", 2], "w": [1], "acc": ["N", 2], "t": [1]}
    assert [entry.name for entry in model.graph.output] == ["acc.new", "y", "t.new"]
    assert {init.name for init in model.graph.initializer} == {"leak", "w"}
    assert builder.tensors == [
        {"name": "w", "kind": "param", "dtype": "int8", "shape": [1]},
        {"name": "acc", "kind": "state", "dtype": "int32", "shape": [1, 2]},
        {"name": "t", "kind": "state", "dtype": "int32", "shape": [1]},
    ]


def test_a_graph_carries_the_functions_it_calls_and_no_others():
    assert [function.name for function in integrator().build("step", {}, "").functions] == [
        "Integrate",
        "LeakyIntegrate",
    ]


def test_hashes_cover_constants_parameters_and_metadata():
    models = [
        integrator().build("step", {"k": "1"}, ""),
        integrator(leak=4).build("step", {"k": "1"}, ""),
        integrator(weight=1).build("step", {"k": "1"}, ""),
        integrator().build("step", {"k": "2"}, ""),
    ]
    hashes = [properties(model)[SOURCE_HASH] for model in models]
    assert len(set(hashes)) == 4
    for model, digest in zip(models, hashes, strict=True):
        assert properties(model)[CONTENT_HASH] == digest == content_hash(model)
    again = integrator().build("step", {"k": "1"}, "")
    assert again.SerializeToString() == models[0].SerializeToString()


def test_a_second_graph_keeps_the_source_hash_of_the_first():
    first = integrator().build("step", {"k": "1"}, "")
    second = integrator(leak=4).build("other", properties(first), "")
    assert properties(second)[SOURCE_HASH] == properties(first)[SOURCE_HASH]
    assert properties(second)[CONTENT_HASH] == content_hash(second) != content_hash(first)


def test_a_graph_that_is_not_valid_is_not_built():
    builder = integrator()
    builder.output("nowhere", "int32", [1])
    with pytest.raises(onnx.checker.ValidationError):
        builder.build("step", {}, "")
    with pytest.raises(onnx.checker.ValidationError):
        finish(onnx.helper.make_graph([onnx.helper.make_node("Relu", ["a"], ["b"])], "g", [], []), {})


def test_only_functions_of_the_library_can_be_called():
    with pytest.raises(ExportError, match=r"expected one of .* got Dense"):
        GraphBuilder().call("Dense", "fc", ["x"], ["y"])
