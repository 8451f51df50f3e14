"""The scheduled kernels against plain integers: both forms of products, and geometries that fill no vector."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from function_graphs import write
from random_models import RandomModel, Shape

from edgesnn import export, runtime
from edgesnn.runtime.reference import ReferenceSession
from edgesnn.runtime.vectors import random_stream

tvm = pytest.importorskip("tvm", reason="needs apache-tvm")

from edgesnn.export import tvm_synapses  # noqa: E402
from edgesnn.export.tvm_lower import lower  # noqa: E402
from edgesnn.export.tvm_targets import resolve  # noqa: E402
from edgesnn.export.tvm_window import merge_steps  # noqa: E402

HOST = resolve("llvm", tvm)
PRODUCTS = [False] + [True] * HOST.vnni
SHIFT = 20


def compiled(kernel):
    module = tvm.IRModule({"kernel": kernel.with_attr("global_symbol", "kernel")})
    return tvm.compile(module, target=tvm.target.Target(HOST.options))["kernel"]


def rescaled(a, m, b):
    column = (-1,) + (1,) * (a.ndim - 2)
    return ((a * m.reshape(column).astype(np.int64) + 2 ** (SHIFT - 1)) >> SHIFT) + b.reshape(column)


def drawn(rng, shape, *, signed, binary, outputs, fan_in):
    x = rng.integers(-128, 128, shape).astype(np.int8) if signed else rng.integers(0, 256, shape).astype(np.uint8)
    low_high = (-1, 2, 2) if binary else (-128, 128, 1)
    w = np.arange(*low_high)[rng.integers(0, len(np.arange(*low_high)), (outputs, *fan_in))].astype(np.int8)
    m, b = (rng.integers(-(2**15), 2**15, outputs).astype(np.int32) for _ in range(2))
    start = (-128 * signed * w.reshape(outputs, -1).sum(axis=1)).astype(np.int32)
    return x, w, m, b, start


@pytest.mark.parametrize("vnni", PRODUCTS)
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(
    ("conv", "signed"),
    [
        (tvm_synapses.Conv(5, (9, 7), 6, (3, 2), (1, 0, 1, 1), (1, 1)), False),
        (tvm_synapses.Conv(4, (18, 20), 8, (3, 3), (1, 1, 1, 1), (1, 1)), True),
        (tvm_synapses.Conv(1, (5, 5), 3, (1, 1), (0, 0, 0, 0), (1, 1)), False),
        (tvm_synapses.Conv(6, (4, 5), 4, (3, 3), (2, 1, 0, 1), (1, 1)), True),
    ],
)
def test_convolutions(conv, signed, binary, vnni):
    rng = np.random.default_rng(3)
    x, w, m, b, start = drawn(
        rng, (2, conv.channels, *conv.size), signed=signed, binary=binary, outputs=conv.outputs,
        fan_in=(conv.channels, *conv.kernel),
    )  # fmt: skip
    run = compiled(tvm_synapses.conv2d(conv, 2, SHIFT, signed=signed, binary=binary, vnni=vnni))
    packed = tvm_synapses.conv_weights(conv, w, binary=binary, vnni=vnni)
    got = tvm.runtime.tensor(np.empty((2, conv.outputs, *conv.result), np.int32))
    run(*(tvm.runtime.tensor(value) for value in (x, packed, tvm_synapses.SIGNS, start, m, b)), got)
    top, left, bottom, right = conv.pads
    padded = np.pad(x.astype(np.int64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, conv.kernel, axis=(2, 3))
    a = np.einsum("nchwij,ocij->nohw", patches, w.astype(np.int64))
    np.testing.assert_array_equal(got.numpy(), rescaled(a, m, b))


@pytest.mark.parametrize("vnni", PRODUCTS)
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(
    ("batch", "inputs", "outputs", "signed"), [(1, 7, 5, True), (4, 33, 48, False), (3, 64, 80, True)]
)
def test_products_of_vectors(batch, inputs, outputs, signed, binary, vnni):
    rng = np.random.default_rng(4)
    x, w, m, b, start = drawn(rng, (batch, inputs), signed=signed, binary=binary, outputs=outputs, fan_in=(inputs,))
    run = compiled(tvm_synapses.linear(inputs, outputs, batch, SHIFT, signed=signed, binary=binary, vnni=vnni))
    packed = tvm_synapses.linear_weights(w, binary=binary, vnni=vnni)
    wide = [np.pad(value, (0, -outputs % tvm_synapses.LANES)) for value in (start, m, b)]
    got = tvm.runtime.tensor(np.empty((batch, outputs), np.int32))
    run(*(tvm.runtime.tensor(value) for value in (x, packed, *wide)), got)
    np.testing.assert_array_equal(got.numpy(), rescaled(x.astype(np.int64) @ w.T.astype(np.int64), m, b))


def test_one_bit_weights_stay_packed():
    conv = tvm_synapses.Conv(64, (8, 8), 32, (3, 3), (1, 1, 1, 1), (1, 1))
    w = np.ones((32, 64, 3, 3), np.int8)
    assert tvm_synapses.conv_weights(conv, w, binary=True, vnni=True).nbytes == w.size // 8
    assert tvm_synapses.linear_weights(w.reshape(32, -1), binary=True, vnni=True).nbytes == w.size // 8


def test_neurons_of_a_window_become_one_node(tmp_path):
    shape = Shape((6,), hidden=(("Linear", 5), ("BinaryLinear", 4)), neurons=("EMPF", "LIF"), steps=1, learn=False)
    model = RandomModel(shape, seed=1).write(tmp_path, vectors=False)
    from edgesnn.export.window import window

    graph = window(model.graph("step"), 5).graph
    names = [node.op_type for node in merge_steps(graph, joins=lambda _: True)]
    assert [names.count(op) for op in ("EMPF", "LIF", "LeakyIntegrate", "Split", "Concat")] == [1, 1, 1, 0, 0]
    assert [node.op_type for node in graph.node].count("EMPF") == 5


def test_neurons_of_one_current_become_one_node(tmp_path):
    """Where x is held, the first neurons read the same current at every step."""
    shape = Shape((6,), hidden=(("Linear", 5), ("BinaryLinear", 4)), neurons=("EMPF", "LIF"), steps=1, learn=False)
    model = RandomModel(shape, seed=1).write(tmp_path, vectors=False)
    from edgesnn.export.window import window

    nodes = merge_steps(window(model.graph("step"), 5, held=True).graph, joins=lambda _: True)
    names = [node.op_type for node in nodes]
    assert [names.count(op) for op in ("EMPF", "LIF", "LeakyIntegrate", "Split", "Concat")] == [1, 1, 1, 0, 0]
    assert next(node for node in nodes if node.op_type == "EMPF").input[1] == "fc0.I"


def test_parameters_of_their_own_for_each_step_stay_unrolled(tmp_path):
    shape = Shape((6,), hidden=(("Linear", 5),), neurons=("EMPF",), steps=3, learn=False)
    model = RandomModel(shape, seed=1).write(tmp_path, vectors=False)
    names = [node.op_type for node in merge_steps(model.graph("window").graph, joins=lambda _: True)]
    assert names.count("EMPF") == 3


@pytest.mark.parametrize("graph", ["step", "window"])
def test_the_portable_kernels_give_the_integers_of_the_reference(tmp_path, graph):
    shape = Shape((3, 6, 5), "uint8", (("Conv2d", 5), ("BinaryConv2d", 4)), ("LIF", "EMPF"), steps=1, pool=True,
                  learn=False)  # fmt: skip
    model = RandomModel(shape, seed=6).write(tmp_path, vectors=False)
    proto: onnx.ModelProto = model.graph(graph)
    library = tvm.compile(lower(proto, vnni=False), target=tvm.target.Target(HOST.options))
    machine = tvm.runtime.vm.VirtualMachine(library, tvm.cpu())
    with ReferenceSession(model) as reference:
        frames, _ = random_stream(model, 2, 3)
        reference.step(frames[0])
        values = reference.tensors() | {"x": frames[1:2] if graph == "step" else frames[1:2, None]}
        results = machine["main"](
            *(tvm.runtime.tensor(np.ascontiguousarray(values[e.name])) for e in proto.graph.input)
        )
        y = reference.step(frames[1])
        by_name = {entry.name: result.numpy() for entry, result in zip(proto.graph.output, results, strict=True)}
        np.testing.assert_array_equal(by_name["y"].reshape(-1), y)
        for name, value in reference.tensors().items():
            np.testing.assert_array_equal(by_name[f"{name}.new"].reshape(value.shape), value)


def neurons_of_one_channel(b, rng):
    """Leaks [1, 1, 1] beside thresholds [1], and the other way round."""
    for name, value in (("theta", 9), ("lam", 2**14)):
        b.constant(name, np.array([value], np.int32))
        b.constant(f"{name}.column", np.full((1, 1, 1), value, np.int32))
    b.call("Widen", "widen", ["x"], ["I"])
    empf, lif = (b.state(name, (1, 3, 7)) for name in ("empf.v", "lif.v"))
    b.call("EMPF", "empf", [empf, "I", "lam.column", "theta"], ["empf.s", "empf.v.new"], k=4, bits=4)
    b.call("Widen", "empf.widen", ["empf.s"], ["empf.I"])
    b.call("LIF", "lif", [lif, "empf.I", "lam", "theta.column"], ["lif.s", "lif.v.new"])
    b.call("ParallelEMPF", "parallel", ["I", "theta.column"], ["parallel.s"], k=5, bits=2)
    b.call("Widen", "lif.widen", ["lif.s"], ["lif.I"])
    b.call("Widen", "parallel.widen", ["parallel.s"], ["parallel.I"])
    b.call("Add", "sum", ["lif.I", "parallel.I"], ["sum.I"])
    return "sum.I", 21


def test_leaks_and_thresholds_of_a_single_channel(tmp_path):
    """One number for all, whatever its shape."""
    write(tmp_path, neurons_of_one_channel, (1, 3, 7))
    export.tvm(tmp_path)
    frames = np.random.default_rng(5).integers(0, 256, (6, 1, 3, 7)).astype(np.uint8)
    found = {}
    for backend in ("reference", "tvm"):
        with runtime.open(tmp_path, backend) as session:
            found[backend] = [(session.step(frame).tolist(), session.snapshot()) for frame in frames]
    assert found["tvm"] == found["reference"]
    assert {value for y, _ in found["tvm"] for value in y} >= {0, 1, 2, 3, 4}
