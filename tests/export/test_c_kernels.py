"""Which kernel a node gets, and how its weights are stored for it; results are compared where kernels are tested."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_models import RandomModel, Shape

from edgesnn.export import c_render as render
from edgesnn.export.c_kernels import WEIGHT_BIAS, event_rows, helium_rows
from edgesnn.export.c_plan import c_plan

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


def test_both_orders_of_rows_are_in_the_package(tmp_path):
    text = render.constants(program(tmp_path, **LIF_NET))
    helium, others = text.split("#if ESNN_MVE")[1].split("#endif")[0].split("#else")
    name = "static const uint32_t fc1_weight_rows["
    assert helium.count(name) == others.count(name) == 1
    assert helium != others


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
