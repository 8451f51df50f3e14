"""Which kernel a node gets, and how its weights are stored for it; results are compared where kernels are tested."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from function_graphs import write
from hypothesis import given
from hypothesis import strategies as st
from random_models import RandomModel, Shape

from edgesnn.export import c_render as render
from edgesnn.export.c_kernels import (
    WEIGHT_BIAS,
    dsp_rows,
    event_rows,
    helium_event_packed_rows,
    helium_packed_rows,
    helium_rows,
    packed_rows,
)
from edgesnn.export.c_plan import c_plan
from edgesnn.export.pack import pack_fields

LIF_NET = {"neurons": ("LIF",), "hidden": (("Linear", 21), ("Linear", 9)), "learn": False}


def program(tmp_path, **shape):
    RandomModel(Shape(**shape), seed=1).write(tmp_path, vectors=False)
    return c_plan(tmp_path)


def ops(program):
    return {node.name: node.op for node in program.step.nodes}


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 9), st.sampled_from([(), (1, 1), (3, 2)]))
def test_rows_hold_every_weight_where_the_kernel_looks(seed, outputs, channels, kernel):
    weights = np.random.default_rng(seed).integers(-128, 128, (outputs, channels, *kernel)).astype(np.int8)
    stored = event_rows(weights).astype("<u4").view(np.uint8)
    rows, wide = weights[0].size, outputs // 16 * 16
    assert stored.size == rows * (wide + -(-(outputs - wide) // 4) * 4)
    for at in np.ndindex(weights.shape):
        o, c, *position = at
        row = int(np.ravel_multi_index((*position, c), (*kernel, channels)))
        width, block = (16, o // 16 * 16) if o < wide else (4, wide + (o - wide) // 4 * 4)
        assert int(stored[block * rows + row * width + o - block]) - WEIGHT_BIAS == weights[at]


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 9), st.sampled_from([(), (1, 1), (3, 2)]))
def test_rows_for_helium_hold_the_outputs_beside_each_other(seed, outputs, channels, kernel):
    weights = np.random.default_rng(seed).integers(-128, 128, (outputs, channels, *kernel)).astype(np.int8)
    rows = event_rows(weights)
    stored = helium_rows(rows, outputs).astype("<u4").view(np.uint8).reshape(weights[0].size, -1)
    assert stored.size == 4 * rows.size
    by_input = np.moveaxis(weights, 1, -1).reshape(outputs, -1).T
    np.testing.assert_array_equal(stored[:, 0:outputs:2].astype(np.int16) - WEIGHT_BIAS, by_input[:, 0::2])
    np.testing.assert_array_equal(stored[:, 1:outputs:2].view(np.int8), by_input[:, 1::2])


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 9), st.sampled_from([2, 4]))
def test_packed_rows_hold_every_weight_where_the_kernel_looks(seed, outputs, fan_in, bits):
    half, width = 2 ** (bits - 1), 32 // bits
    weights = np.random.default_rng(seed).integers(-half, half, (outputs, fan_in))
    rows = packed_rows(weights, bits)
    assert (rows.dtype, rows.size) == (np.uint32, -(-outputs // width) * fan_in)
    for o, i in np.ndindex(weights.shape):
        word = int(rows[o // width * fan_in + i])
        assert (word >> bits * (o % width) & (2**bits - 1)) - half == weights[o, i]


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 9), st.sampled_from([2, 4]))
def test_packed_rows_for_dsp_hold_two_inputs_a_word(seed, outputs, fan_in, bits):
    half, width = 2 ** (bits - 1), 16 // bits
    weights = np.random.default_rng(seed).integers(-half, half, (outputs, fan_in))
    rows = dsp_rows(packed_rows(weights, bits), fan_in)
    pairs = (fan_in + 1) // 2
    for o, i in np.ndindex(weights.shape):
        word = int(rows[o // width * pairs + i // 2]) >> 16 * (i % 2)
        assert (word >> bits * (o % width) & (2**bits - 1)) - half == weights[o, i]


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 140), st.sampled_from([2, 4]))
def test_packed_rows_for_helium_hold_the_inputs_of_an_output_beside_each_other(seed, outputs, fan_in, bits):
    half, width = 2 ** (bits - 1), 8 // bits
    weights = np.random.default_rng(seed).integers(-half, half, (outputs, fan_in))
    stored = helium_packed_rows(packed_rows(weights, bits), outputs, fan_in, bits).reshape(outputs, -1)
    whole, rest = divmod(fan_in, 16 * width)
    assert stored.shape[1] == 16 * whole + min(rest, 16)
    for o, i in np.ndindex(weights.shape):
        block, place = divmod(i, 16 * width)
        field = int(stored[o, 16 * block + place % 16]) >> place // 16 * bits & (2**bits - 1)
        assert field - half == weights[o, i]
    seen = np.unpackbits(stored, axis=1).sum()
    assert seen == sum(int(w + half).bit_count() for w in weights.ravel())  # fields without an input are 0


@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(1, 9), st.sampled_from([2, 4]))
def test_packed_rows_for_helium_hold_the_outputs_of_an_input_beside_each_other(seed, outputs, fan_in, bits):
    half, width = 2 ** (bits - 1), 8 // bits
    weights = np.random.default_rng(seed).integers(-half, half, (outputs, fan_in))
    stored = helium_event_packed_rows(packed_rows(weights, bits), outputs, fan_in, bits)
    rows = stored.astype("<u4").view(np.uint8).reshape(fan_in, -1)
    assert rows.shape[1] == -(-outputs * bits // 32) * 4
    for o, i in np.ndindex(weights.shape):
        byte, signed = rows[i, o // width], bits == 4 and o % 2 == 1
        value = int(byte.view(np.int8)) >> 4 if signed else (int(byte) >> o % width * bits & (2**bits - 1)) - half
        assert value == weights[o, i]


def packed(folder, function, outputs, binary=False, group=1):
    """What becomes of a synapse with packed weights on 4 channels, or on as many binary spikes."""

    def add(b, rng):
        x, shape = "x", (outputs, 4 // group, *(() if "Linear" in function else (2, 2)))
        if binary:
            b.call("Widen", "wide", ["x"], ["wide.I"])
            for name, value in (("M", 2), ("b", 0)):
                b.constant(name, np.full((4,) if "Linear" in function else (4, 1, 1), value, np.int32))
            b.call("Requantize", "q", ["wide.I", "M", "b"], ["s"], shift=1, bits=1, to=onnx.TensorProto.UINT8)
            x = "s"
        b.constant("w", pack_fields(rng.integers(-8, 8, shape), 4))
        more = {} if "Linear" in function else {
            "kernel": list(shape), "strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1], "group": group
        }  # fmt: skip
        b.call(function, "fc", [x, "w"], ["a"], fan_in=int(np.prod(shape[1:])), bits=4, **more)
        return "a", outputs * (1 if "Linear" in function else 2)

    write(folder, add, (4,) if "Linear" in function else (4, 2, 3))
    planned = c_plan(folder)
    node = next(node for node in planned.step.nodes if node.name == "fc")
    return node.op, planned.step.constants[node.inputs[1].place], planned.weights


def test_packed_weights_stay_packed(tmp_path):
    op, stored, weights = packed(tmp_path, "PackedLinear", 20)
    assert (op, stored.size, weights) == ("PackedLinear", 3 * 4, 20 * 4)
    op, stored, weights = packed(tmp_path, "PackedLinear", 20, binary=True)
    assert (op, stored.size, weights) == ("EventPackedLinear", 3 * 4, 20 * 4)
    op, stored, weights = packed(tmp_path, "PackedConv2d", 12, binary=True)
    assert (op, stored.size, weights) == ("EventPackedConv2d", 2 * 16, 12 * 16)
    op, stored, weights = packed(tmp_path, "PackedConv2d", 12, group=2)
    assert (op, stored.size, weights) == ("PackedConv2d", 2 * 1 * 8, 12 * 8)


def test_spikes_through_groups_are_no_events(tmp_path):
    assert packed(tmp_path, "PackedConv2d", 16, binary=True, group=2)[0] == "PackedConv2d"


def test_groups_of_few_outputs_are_unpacked(tmp_path):
    """A word for one output would take four bytes a weight."""
    op, stored, weights = packed(tmp_path, "PackedConv2d", 4, group=4)
    assert (op, stored.dtype, stored.shape, weights) == ("GroupedConv2d", np.int8, (4, 1, 2, 2), 16)


def test_both_orders_of_rows_are_in_the_package(tmp_path):
    text = render.constants(program(tmp_path, **LIF_NET))
    helium, others = text.split("#if ESNN_MVE")[1].split("#endif")[0].split("#else")
    name = "static const uint32_t fc1_weight_rows["
    assert helium.count(name) == others.count(name) == 1
    assert helium != others


def test_three_orders_of_packed_weights_are_in_the_package(tmp_path):
    packed(tmp_path, "PackedConv2d", 16, group=2)
    text = render.constants(c_plan(tmp_path))
    helium, more = text.split("#if ESNN_MVE")[1].split("#endif")[0].split("#elif ESNN_DSP")
    parts = [helium, *more.split("#else")]
    assert [part.count("static const uint32_t w_rows[") for part in parts] == [1, 1, 1]
    assert len(set(parts)) == 3


def test_binary_spikes_drive_events(tmp_path):
    chosen = program(tmp_path, **LIF_NET)
    assert [ops(chosen)[f"{name}.synapse"] for name in ("fc0", "fc1", "readout")] == [
        "Linear",  # the input is not binary
        "EventLinear",
        "EventLinear",
    ]
    assert "fc1.weight.rows" in chosen.step.constants
    assert "fc1.weight" not in chosen.step.constants
    assert [layer.macs for layer in chosen.step_layers] == [13 * 21, 21 * 9, 9 * 3]
    assert chosen.weights == 13 * 21 + 21 * 9 + 9 * 3
    assert [layer.flash_bytes for layer in chosen.layers][1] == 21 * 12 + 2 * 4 * 9 + 4 + 4


def test_binary_spikes_of_other_neurons_pooled_ones_and_convolutions(tmp_path):
    hidden = (("Conv2d", 3), ("Conv2d", 4))
    chosen = ops(program(tmp_path, input_shape=(2, 8, 8), hidden=hidden, neurons=("EMPF",), bits=1, pool=True))
    assert (chosen["fc0.synapse"], chosen["fc1.synapse"]) == ("Conv2d", "EventConv2d")


@pytest.mark.parametrize("changes", [{"neurons": ("EMPF",)}, {"hidden": (("BinaryLinear", 5), ("BinaryLinear", 5))}])
def test_graded_spikes_and_packed_weights_keep_their_kernels(tmp_path, changes):
    chosen = program(tmp_path, **LIF_NET | changes)
    assert ops(chosen)["fc1.synapse"] == changes.get("hidden", LIF_NET["hidden"])[1][0]


def test_weights_that_are_trained_on_the_device_keep_their_layout(tmp_path):
    chosen = ops(program(tmp_path, **LIF_NET | {"learn": True}))
    assert (chosen["fc1.synapse"], chosen["readout.synapse"]) == ("EventLinear", "Linear")


@pytest.mark.parametrize(("inputs", "lift"), [(13, 13), (60, 0)])
def test_sums_are_lifted_as_far_as_is_proven(tmp_path, inputs, lift):
    chosen = program(tmp_path, input_shape=(inputs,), hidden=(("Linear", 4),), learn=False)
    node = next(node for node in chosen.step.nodes if node.name == "fc0.rescale")
    assert node.attributes["shift"] == 20
    assert node.attributes["lift"] == lift
