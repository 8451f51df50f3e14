"""Errors on their way back through pooling and upsampling: the bound that is told is met, and the smallest there is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from edgesnn.export.builder import GraphBuilder
from edgesnn.export.c_graph import Node, Tensor
from edgesnn.export.error_passes import PASSES
from edgesnn.export.gradient import Gradient

BOUND = 1000
SIDES = st.integers(1, 6)


def passed_on(node, gradient, kept=None):
    """The gradient that the node's input gets, and its integers, where all errors are as large as `BOUND` allows."""
    (x,) = node.inputs
    got = []
    builder = GraphBuilder()
    graph = SimpleNamespace(builder=builder, pass_on=lambda _, told: got.append(told), read=lambda value: value.place)
    builder.input(gradient.name, "int32", list(gradient.shape))
    feeds = {gradient.name: np.full(gradient.shape, BOUND, np.int32)}
    if kept is not None:
        feeds[builder.input(x.place, "int32", list(x.shape))] = kept
    PASSES[node.op](graph, node, gradient)
    (told,) = got
    builder.output(told.name, "int32", list(told.shape))
    (integers,) = ReferenceEvaluator(builder.build("passes", {}, "")).run(None, feeds)
    assert integers.shape == told.shape == x.shape
    return told, integers


def node_of(op, inputs, outputs, **attributes):
    x, y = (Tensor("value", name, "int32", (1, 2, *sides)) for name, sides in (("x", inputs), ("y", outputs)))
    return Node(op, op.lower(), (x,), (y,), attributes), Gradient("g", np.ones(1), BOUND, y.shape)


@settings(max_examples=20)
@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), st.randoms(use_true_random=False))
def test_upsampling(small, large, random):
    rows, columns = (sorted(random.choices(range(side), k=wide)) for side, wide in zip(small, large, strict=True))
    told, integers = passed_on(*node_of("Upsample2d", small, large, rows=rows, columns=columns))
    assert integers.max() == told.bound


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 1), (3, 2), (2, 3)])
@pytest.mark.parametrize("op", ["MaxPool2d", "SumPool2d"])
def test_windows_of_pooling(op, kernel, stride):
    side = 2 * kernel + 4 * stride
    places = (side - kernel) // stride + 1
    windows = {"kernel_shape": [kernel, kernel], "strides": [stride, stride], "pads": [0, 0, 0, 0]}
    node, gradient = node_of(op, (side, side), (places, places), **windows)
    highest_in_all = np.zeros((1, 2, side, side), np.int32)
    highest_in_all[..., side // 2, side // 2] = 1
    told, integers = passed_on(node, gradient, highest_in_all if op == "MaxPool2d" else None)
    assert BOUND <= integers.max() <= told.bound
    if kernel % stride == 0 or stride == 1:  # a pixel in the middle is in as many windows as fit there
        assert integers.max() == told.bound
