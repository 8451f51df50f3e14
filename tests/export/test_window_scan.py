"""A window of any number of steps equals as many calls of the step graph, with one file for all numbers."""

from __future__ import annotations

from random import Random

import function_graphs
import numpy as np
import onnx
import pytest
import windows
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import RandomModel, Shape

from edgesnn.bench.random_network import RandomNetwork
from edgesnn.export.window import window
from edgesnn.runtime.ort import LEVELS, open_as_is
from edgesnn.runtime.ort_rewrite import rewrite

#: Draws of random networks that together have all functions: recurrence, delays, attention, groups, packed weights,
#: pools, numbers by channel and by time step.
DRAWN = ("scan-0", "scan-31", "scan-6", "scan-16", "scan-69")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("random")


@settings(max_examples=12)
@given(
    neurons=st.permutations(["EMPF", "LIF", "LIFDrop", "LIFClear", "ParallelEMPF"]), by_step=st.integers(1, 3),
    image=st.booleans(), held=st.booleans(), batch=st.integers(1, 3), seed=st.integers(0, 2**16),
)  # fmt: skip
def test_any_number_of_steps_is_that_many_steps(folder, neurons, by_step, image, held, batch, seed):
    hidden = (
        [("BinaryConv2d", 3), ("Conv2d", 17), ("BinaryLinear", 4)] if image else [("BinaryLinear", 9), ("Linear", 5)]
    )
    shape = Shape((2, 6, 5) if image else (7,), "uint8", hidden, neurons, steps=by_step, pool=image)
    model = RandomModel(shape, seed).write(folder, vectors=False)
    windows.check_dynamic(model, ["ort"], (1, 4, 2), held=held, batch=batch, seed=seed)


@pytest.mark.parametrize("held", [False, True], ids=["stream", "held"])
@pytest.mark.parametrize("drawn", DRAWN)
def test_every_function_of_the_library(tmp_path, drawn, held):
    network = RandomNetwork(Random(drawn))
    windows.check_dynamic(network.write(tmp_path), ["reference", "ort"], (3, 1), held=held)


def test_the_draws_have_every_kind_of_state(tmp_path):
    found = set()
    for drawn in DRAWN:
        network = RandomNetwork(Random(drawn))
        network.write(tmp_path)
        found |= network.functions
    assert {"Delay", "Retain", "NextStep", "ChannelAttention", "LIFDrop", "LIFClear", "EMPF", "Trace", "Widen"} <= found
    assert {"GroupedConv2d", "GroupedBinaryConv2d", "PackedConv2d", "PackedLinear", "SumPool2d", "Upsample2d"} <= found


def bodies(proto):
    return [node.attribute[i].g for node in proto.graph.node if node.op_type == "Scan"
            for i, entry in enumerate(node.attribute) if entry.name == "body"]  # fmt: skip


def kinds(graph):
    return [node.op_type for node in graph.node]


def test_only_what_lies_between_a_state_and_its_new_value_is_in_a_body(folder):
    shape = Shape((2, 6, 5), hidden=(("Conv2d", 3), ("BinaryLinear", 7)), neurons=("EMPF", "LIF"), pool=True)
    proto = window(RandomModel(shape, 1).write(folder, vectors=False).step, None)
    assert [kinds(body) for body in bodies(proto)] == [
        ["EMPF", "Identity"], ["LIF", "Trace", "Identity"], ["LeakyIntegrate", "Identity"],
    ]  # fmt: skip
    outside = kinds(proto.graph)
    assert [outside.count(kind) for kind in ("Conv2d", "MaxPool2d", "BinaryLinear", "Linear", "Rescale")] == [
        1,
        1,
        1,
        1,
        3,
    ]


def test_numbers_of_each_step_are_looked_up_in_the_first_body(folder):
    """The time index and all its Gathers are one Scan with the first neurons; later ones take what they gave."""
    model = RandomModel(Shape(neurons=("EMPF", "EMPF"), steps=3), 5).write(folder, vectors=False)
    first, *others = bodies(window(model.step, None))
    assert {"NextStep", "Gather", "EMPF"} <= set(kinds(first))
    assert all("Gather" not in kinds(body) for body in others)


@pytest.mark.parametrize("held", [False, True])
def test_the_file_is_readable_and_of_the_same_model(folder, held):
    """Names, doc strings, and the size of every value but time steps and batch."""
    model = RandomModel(Shape((2, 6, 5), hidden=(("Conv2d", 3),), neurons=("EMPF",)), 3).write(folder, vectors=False)
    proto = window(model.step, None, held=held)
    assert proto.ir_version == 10
    assert "Any number of time steps" in proto.graph.doc_string
    shapes = {
        entry.name: [dim.dim_param or dim.dim_value for dim in entry.type.tensor_type.shape.dim]
        for entry in (*proto.graph.input, *proto.graph.output)
    }
    assert shapes["x"] == (["N", 2, 6, 5] if held else ["T", "N", 2, 6, 5])
    assert shapes["y"] == ["T", "N", 3]
    assert ("steps" in shapes) == held
    names = [node.name for graph in (proto.graph, *bodies(proto)) for node in graph.node]
    assert all(names)
    assert len(names) == len(set(names))
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True, strict_mode=True).graph
    sizes = {e.name: [dim.dim_value for dim in e.type.tensor_type.shape.dim] for e in inferred.value_info}
    assert sizes["n_fc0.s.all"][1:] == [3, 6, 5]
    assert sizes["fc0.I" if held else "fc0.I.steps"][-3:] == [3, 6, 5]
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert {**metadata, "edgesnn.content_hash": ""} == {**model.metadata, "edgesnn.content_hash": ""}


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("drawn", [DRAWN[0], DRAWN[3]])
def test_every_optimization_level_gives_the_same_integers(tmp_path, drawn, held):
    model = RandomNetwork(Random(drawn)).write(tmp_path)
    rng = np.random.default_rng(4)
    start, x = windows.arbitrary(model, rng, 2), windows.frames(model, rng, 3, 2)
    proto = window(model.step, None, held=held)
    results = []
    for level in LEVELS:
        for candidate in (proto, rewrite(proto)):
            session = open_as_is(candidate, level=level)
            feeds = start | {"x": x[0] if held else x, "steps": np.array([3])}
            results.append(session.run(None, {entry.name: feeds[entry.name] for entry in session.get_inputs()}))
    for result in results[1:]:
        assert all(map(np.array_equal, result, results[0]))


def test_bodies_get_the_operators_that_are_fast(folder):
    """No function is left where all have a faster form, and the membrane goes from step to step as it is computed."""
    shape = Shape((2, 9, 8), "uint8", (("Conv2d", 17), ("BinaryConv2d", 18)), ("EMPF", "LIF"), learn=False)
    proto = rewrite(window(RandomModel(shape, 8).write(folder, vectors=False).step, None))
    assert all(node.domain != "edgesnn" for graph in (proto.graph, *bodies(proto)) for node in graph.node)
    states = [body.input[0].type.tensor_type.elem_type for body in bodies(proto)]
    assert states == [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE]


def test_a_new_state_that_others_read_is_a_state_and_a_stream(tmp_path):
    """As the running mean of spikes is, which class means read: the last one is kept, and each is read at its step."""

    def add(b, _):
        leak = b.constant("lam", np.array([30000], np.int32))
        b.call("Widen", "widen", ["x"], ["I"])
        b.call("LeakyIntegrate", "mean", [b.state("mean", (4,)), "I", leak], ["mean.new"])
        b.call("Rescale", "behind", ["mean.new", b.constant("M", np.full(4, 3 << 6, np.int32)),
               b.constant("b", np.arange(4, dtype=np.int32))], ["behind.I"], shift=8)  # fmt: skip
        return "behind.I", 4

    model = function_graphs.write(tmp_path, add, (4,))
    for held in (False, True):
        windows.check_dynamic(model, ["reference", "ort"], (3, 1), held=held)
