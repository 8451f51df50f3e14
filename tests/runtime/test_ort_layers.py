"""Layers that ONNX Runtime gets as other operators, one at a time: the integers of the definition at every corner."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from edgesnn.export.builder import BATCH, GraphBuilder
from edgesnn.export.pack import pack_fields, pack_signs
from edgesnn.runtime.ort import LEVELS, open_as_is
from edgesnn.runtime.ort_rewrite import rewrite

EXTREMES = np.array([-(2**23), -(2**23) + 1, -1, 0, 1, 2**14, 2**23 - 1], np.int32)
SIDE = 6


def agree(builder: GraphBuilder, feeds: dict[str, np.ndarray], gone: str) -> None:
    """The graph as it is and rewritten, where the function `gone` is no more, at every level of optimization."""
    proto = builder.build("step", {}, "one layer")
    fast = rewrite(proto)
    assert gone in {node.op_type for node in proto.graph.node}
    assert gone not in {node.op_type for node in fast.graph.node}
    expected = open_as_is(proto).run(None, feeds)
    for level in LEVELS:
        for mine, first in zip(open_as_is(fast, level=level).run(None, feeds), expected, strict=True):
            np.testing.assert_array_equal(mine, first)


def image(builder: GraphBuilder, rng: np.random.Generator, channels: int, dtype: str) -> np.ndarray:
    builder.input("x", dtype, [BATCH, channels, SIDE, SIDE + 1])
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, (2, channels, SIDE, SIDE + 1)).astype(dtype)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_convolutions_in_groups_dilated_and_packed(data):
    draw = data.draw
    bits, group = draw(st.sampled_from([1, 2, 4, 8])), draw(st.sampled_from([1, 2, 16]))
    channels = 16 if group > 1 else draw(st.sampled_from([3, 16, 17]))
    kernel, strides = (
        (draw(st.integers(1, 2)), draw(st.integers(1, 3))),
        draw(st.lists(st.integers(1, 2), min_size=2))[:2],
    )
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    b = GraphBuilder()
    x = image(b, rng, channels, draw(st.sampled_from(["uint8", "int8"])))
    weights = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (2 * group, channels // group, *kernel)).astype(np.int8)
    attributes = {
        "strides": strides, "dilations": [draw(st.integers(1, 2)), draw(st.integers(1, 2))], "group": group,
        "pads": [draw(st.integers(0, size - 1)) for size in (*kernel, *kernel)],
    }  # fmt: skip
    packed = {"fan_in": weights[0].size, "kernel": list(weights.shape)}
    if bits == 1:
        weights = np.where(weights < 0, -1, 1).astype(np.int8)
        function, stored, attributes = "GroupedBinaryConv2d", pack_signs(weights), attributes | packed
    elif bits < 8:
        function, stored = "PackedConv2d", pack_fields(weights, bits)
        attributes |= packed | {"bits": bits}
    else:
        function, stored = "GroupedConv2d", weights
    b.constant("w", stored)
    b.output("a", "int32", [BATCH, len(weights), None, None])
    b.call(function, "synapse", ["x", "w"], ["a"], **attributes)
    agree(b, {"x": x}, function)


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_dense_weights_of_few_bits(bits, dtype):
    rng, b = np.random.default_rng(bits), GraphBuilder()
    weights = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (7, 13)).astype(np.int8)
    b.input("x", dtype, [BATCH, 13])
    b.constant("w", pack_fields(weights, bits))
    b.output("a", "int32", [BATCH, 7])
    b.call("PackedLinear", "synapse", ["x", "w"], ["a"], fan_in=13, bits=bits)
    x = rng.integers(-128, 256, (3, 13)).astype(dtype)
    agree(b, {"x": x}, "PackedLinear")


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_pools(data):
    draw = data.draw
    function = draw(st.sampled_from(["AveragePool2d", "SumPool2d", "PaddedMaxPool2d"]))
    b, rng = GraphBuilder(), np.random.default_rng(draw(st.integers(0, 99)))
    dtype = "uint8" if function != "SumPool2d" else draw(st.sampled_from(["uint8", "int8"]))
    x = image(b, rng, draw(st.sampled_from([1, 5, 16])), dtype)
    kernel = draw(st.sampled_from([[1, 1], [2, 3], [3, 2], [SIDE, SIDE + 1]]))
    attributes = {
        "kernel_shape": kernel, "strides": [draw(st.integers(1, 3)), draw(st.integers(1, 2))],
        "pads": [draw(st.integers(0, size - 1)) for size in (*kernel, *kernel)],
    }  # fmt: skip
    if function == "AveragePool2d":
        attributes |= {"M": draw(st.sampled_from([1, 7, 2**16 - 1, 2**30 - 1])), "shift": draw(st.integers(0, 40))}
    kind = "int32" if function == "SumPool2d" else dtype
    b.output("y", kind, [BATCH, x.shape[1], None, None])
    b.call(function, "pool", ["x"], ["y"], **attributes)
    agree(b, {"x": x}, function)


@settings(max_examples=25, deadline=None)
@given(
    function=st.sampled_from(["LIFDrop", "LIFClear"]),
    lam=st.sampled_from([0, 1, 26214, 2**14, 2**15 - 1, 2**15]),
    theta=st.sampled_from([0, 1, 700, 2**22]),
    drop=st.sampled_from([0, 5, 2**22]),
    seed=st.integers(0, 99),
)
def test_neurons_with_other_resets(function, lam, theta, drop, seed):
    rng, b = np.random.default_rng(seed), GraphBuilder()
    b.state("v", (64,))
    b.input("I", "int32", [BATCH, 64])
    for name, value in (("lam", lam), ("theta", theta), ("drop", drop)):
        b.constant(name, np.array([value], np.int32))
    b.output("s", "uint8", [BATCH, 64])
    operands = ["v", "I", "lam", "theta", "drop"][: 5 if function == "LIFDrop" else 4]
    b.call(function, "neuron", operands, ["s", "v.new"])
    spread = 2 ** rng.integers(1, 24)
    feeds = {"v": rng.choice(EXTREMES, (2, 64)), "I": rng.integers(-spread, spread, (2, 64)).astype(np.int32)}
    feeds["v"][:, 32:] = rng.integers(-spread, spread, (2, 32))
    agree(b, feeds, function)


def test_a_shortcut_of_spikes_is_added_to_a_current():
    """Widen, its rescale with multipliers that meet halves, and Add, behind and before which nothing is known."""
    rng, b = np.random.default_rng(4), GraphBuilder()
    b.input("x", "uint8", [BATCH, 9])
    b.input("I", "int32", [BATCH, 9])
    b.constant("M", rng.choice([2**17, 3 * 2**10, -(2**12), 12345], 9).astype(np.int32))
    b.constant("b", rng.integers(-(2**20), 2**20, 9).astype(np.int32))
    b.output("sum", "int32", [BATCH, 9])
    b.call("Widen", "widen", ["x"], ["a"])
    b.call("Rescale", "rescale", ["a", "M", "b"], ["J"], shift=18)
    b.call("Add", "add", ["I", "J"], ["sum"])
    feeds = {"x": rng.integers(0, 256, (5, 9)).astype(np.uint8), "I": rng.choice(EXTREMES, (5, 9)) * 100}
    agree(b, feeds, "Widen")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("to", [TensorProto.UINT8, TensorProto.INT8])
def test_a_current_that_a_synapse_reads(bits, to):
    """What is behind it takes the range it has: a sum of 8 bits is rescaled, and clamped at either end."""
    rng, b = np.random.default_rng(bits), GraphBuilder()
    b.input("x", "int8", [BATCH, 9])
    b.constant("M", rng.integers(-(2**12), 2**12, 9).astype(np.int32))
    b.constant("b", rng.integers(-40, 40, 9).astype(np.int32))
    b.constant("w", rng.integers(-128, 128, (4, 9)).astype(np.int8))
    b.output("a", "int32", [BATCH, 4])
    b.output("y", "int8" if to == TensorProto.INT8 else "uint8", [BATCH, 9])
    b.call("Widen", "widen", ["x"], ["wide"])
    b.call("Requantize", "requantize", ["wide", "M", "b"], ["y"], shift=11, bits=bits, to=int(to))
    b.call("Linear", "synapse", ["y", "w"], ["a"])
    agree(b, {"x": rng.integers(-128, 128, (20, 9)).astype(np.int8)}, "Requantize")
