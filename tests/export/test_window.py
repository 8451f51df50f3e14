"""The parallel-time-step graph equals T calls of the step graph, states included, from any states and for any batch."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import windows
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import RandomModel, Shape
from windows import Runner

from edgesnn.export.builder import GraphBuilder
from edgesnn.export.window import window
from edgesnn.export.window_plan import Kind, plan
from edgesnn.runtime.model import Model

DENSE = st.sampled_from(["BinaryLinear", "Linear"])
CONV = st.sampled_from(["BinaryConv2d", "Conv2d"])
NEURONS = st.lists(st.sampled_from(["EMPF", "LIF", "LIFDrop", "LIFClear", "ParallelEMPF"]), min_size=1, max_size=3)


@st.composite
def shapes(draw):
    """Dense or convolutional networks of every neuron, with parameters for 1 to 4 time steps."""
    common = {"neurons": draw(NEURONS), "steps": draw(st.integers(1, 4)), "learn": draw(st.booleans())}
    dense = draw(st.lists(st.tuples(DENSE, st.integers(1, 9)), min_size=1, max_size=2))
    dtype = draw(st.sampled_from(["int8", "uint8"]))
    if draw(st.booleans()):
        return Shape((draw(st.integers(1, 12)),), dtype, dense, **common)
    conv = draw(st.lists(st.tuples(CONV, st.integers(1, 4)), min_size=1, max_size=2))
    return Shape((2, 6, 5), dtype, [*conv, *dense[:1]], pool=draw(st.booleans()), **common)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("random")


@settings(max_examples=40)
@given(shape=shapes(), steps=st.integers(1, 5), batch=st.integers(1, 3), held=st.booleans(), seed=st.integers(0, 2**16))
def test_window_equals_steps(folder, shape, steps, batch, held, seed):
    rng = np.random.default_rng(seed)
    model = RandomModel(shape, seed).write(folder, vectors=False)
    start = windows.arbitrary(model, rng, batch)
    x = windows.frames(model, rng, 1 if held else steps, batch)
    expected = windows.follow(Runner("reference", model.step), start, np.repeat(x, steps, axis=0) if held else x)

    proto = window(model.step, steps, held=held)
    onnx.checker.check_model(proto, full_check=True)
    for backend in ("reference", "ort"):
        outputs = Runner(backend, proto)(start | {"x": x[0] if held else x})
        assert outputs.keys() == expected.keys()
        for name, value in outputs.items():
            assert np.array_equal(value, expected[name]), (backend, name)
        assert {name.removesuffix(".new") for name in outputs} == {"y"} | {
            t.name for t in model.tensors if t.kind == "state"
        }


def test_synapses_and_stateless_neurons_run_once(folder):
    """Only what reads a state is repeated; with shared parameters a parallel neuron reads none."""
    shape = Shape((2, 6, 5), hidden=(("Conv2d", 3), ("BinaryLinear", 7)), neurons=("ParallelEMPF", "EMPF"), pool=True)
    proto = window(RandomModel(shape, 1).write(folder, vectors=False).step, 4)
    counts = {}
    for node in proto.graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    once = ("Conv2d", "BinaryLinear", "Linear", "MaxPool2d", "ParallelEMPF", "Flatten")
    assert {name: counts[name] for name in once} == dict.fromkeys(once, 1)
    assert (counts["Rescale"], counts["EMPF"], counts["LeakyIntegrate"], counts["Trace"]) == (3, 4, 4, 4)


def test_parameters_per_step_follow_the_time_index(folder):
    """With T parameter sets, a window that starts at t = 1 is not the one that starts at t = 0."""
    model = RandomModel(Shape(steps=3, neurons=("EMPF",)), 5).write(folder, vectors=False)
    proto, start = window(model.step, 4), dict(model.factory)
    x = np.random.default_rng(0).integers(-128, 128, (4, 1, 13)).astype(np.int8)
    ends = [Runner("ort", proto)(start | {"x": x, "t": np.array([t], np.int32)}) for t in (0, 1, 2)]
    assert [int(end["t.new"][0]) for end in ends] == [1, 2, 0]
    assert not np.array_equal(ends[0]["n_fc0.v.new"], ends[1]["n_fc0.v.new"])


def test_weights_metadata_and_hash_are_those_of_the_step_graph(folder):
    model = RandomModel(Shape(learn=True, steps=3), 3).write(folder, vectors=False)
    proto = window(model.step, 3)
    weights = {init.name: init.SerializeToString() for init in model.step.graph.initializer}
    found = {init.name: init.SerializeToString() for init in proto.graph.initializer}
    assert {name: found[name] for name in weights} == weights
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert {k: v for k, v in metadata.items() if k != "edgesnn.content_hash"} == {
        k: v for k, v in model.metadata.items() if k != "edgesnn.content_hash"
    }
    onnx.save_model(proto, folder / "window.onnx")
    assert Model.load(folder).graph("window").graph.name == "window"


def test_what_lies_between_a_state_and_its_new_value_is_repeated_together():
    """A synapse that reads the last output of neurons that it drives: step by step; one beside it runs once."""
    b = GraphBuilder()
    x = b.input("x", "uint8", ["N", 3])
    one, half, zero = (b.constant(name, np.array([value], np.int32)) for name, value in (("lam", 2**14), ("theta", 9),
                       ("none", 0)))  # fmt: skip
    last, v = b.state("last", (4,), dtype="uint8"), b.state("v", (4,))
    w, back = (b.constant(name, np.arange(-k, k, dtype=np.int8).reshape(4, -1)) for name, k in (("w", 6), ("back", 8)))
    b.call("Linear", "in.synapse", [x, w], ["in.a"])
    b.call("Linear", "back.synapse", [last, back], ["back.a"])
    b.call("Add", "sum", ["in.a", "back.a"], ["I"])
    b.call("LIF", "fire", [v, "I", one, half], ["s", v + ".new"])
    b.call("Retain", "keep", [last, "s"], [last + ".new"])
    b.call("Linear", "out.synapse", ["s", back], ["out.a"])
    b.call("LeakyIntegrate", "out.integrate", [b.state("acc", (4,)), "out.a", zero], ["y"])
    b.standard("Identity", "out.keep", ["y"], ["acc.new"])
    b.output("y", "int32", ["N", 4])
    step = b.build("step", {}, "")
    proto = window(step, 3)
    names = [node.name for node in proto.graph.node if node.op_type not in ("Reshape", "Split", "Concat", "Identity")]
    repeated = [f"{name}.{t}" for t in range(3) for name in ("back.synapse", "sum", "fire", "keep")]
    assert names == ["in.synapse", *repeated, "out.synapse", *(f"out.integrate.{t}" for t in range(3))]
    frames = np.random.default_rng(0).integers(0, 5, (3, 2, 3)).astype(np.uint8)
    start = {"last": np.eye(2, 4, dtype=np.uint8), "v": np.zeros((2, 4), np.int32), "acc": np.zeros((2, 4), np.int32)}
    expected = windows.follow(Runner("reference", step), start, frames)
    whole = Runner("reference", proto)(start | {"x": frames})
    assert all(np.array_equal(whole[name], expected[name]) for name in expected)
    assert len(np.unique(whole["y"])) > 3


def test_what_reads_a_held_input_alone_runs_once(folder):
    """The first synapse and its rescale, a parallel neuron behind them and its synapse; not what follows a state."""
    shape = Shape((2, 6, 5), hidden=(("Conv2d", 3), ("BinaryLinear", 7)), neurons=("ParallelEMPF", "EMPF"), pool=True)
    step = RandomModel(shape, 1).write(folder, vectors=False).step
    kinds = {}
    for group in plan(step.graph, held=True).groups:
        for node in group.nodes:
            kinds.setdefault(group.kind, []).append(node.op_type)
    assert kinds == {
        Kind.ONCE: ["Conv2d", "Rescale", "ParallelEMPF", "MaxPool2d", "Flatten", "BinaryLinear", "Rescale"],
        Kind.STEPS: ["EMPF", "LeakyIntegrate", "Trace"],
        Kind.TOGETHER: ["Linear", "Rescale"],
    }
    proto = window(step, 4, held=True)
    x = next(entry for entry in proto.graph.input if entry.name == "x")
    assert [dim.dim_value for dim in x.type.tensor_type.shape.dim] == [0, 2, 6, 5]
    assert sum(node.op_type == "Conv2d" for node in proto.graph.node) == 1
