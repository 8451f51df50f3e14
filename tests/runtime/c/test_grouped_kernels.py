"""Convolutions in groups and with dilations, and synapses with packed weights, against the NumPy formulas."""

from __future__ import annotations

import ctypes

import golden
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from kernel_inputs import GroupedWindow, Window, extreme, geometries, input_types, p, seeds, signs

from edgesnn.export.c_kernels import packed_rows

U8, S8 = range(2)
widths = st.sampled_from([2, 4])


def scratch(elements):
    return np.full(elements, 12345, np.int16)  # holds garbage before the call


@st.composite
def grouped_windows(draw):
    """(window, shape of the weights, strides, pads, dilations, groups) with at least one output pixel."""
    kernel, stride, dilation = (draw(st.tuples(st.integers(1, m), st.integers(1, m))) for m in (4, 3, 3))
    pads = tuple(draw(st.integers(0, 3)) for _ in range(4))
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    spans = [d * (side - 1) + 1 for side, d in zip(kernel, dilation, strict=True)]
    rooms = size[0] + pads[0] + pads[2] - spans[0], size[1] + pads[1] + pads[3] - spans[1]
    assume(min(rooms) >= 0)
    groups, channels, outputs = draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    extent = [room // step + 1 for room, step in zip(rooms, stride, strict=True)]
    window = Window(groups * channels, *size, groups * outputs, *extent, *kernel, *stride, *pads[:2])
    return GroupedWindow(window, *dilation, groups), (groups * outputs, channels, *kernel), stride, pads, dilation


def case(seed, geometry, dtype, weights):
    g, shape, stride, pads, dilation = geometry
    rng = np.random.default_rng(seed)
    x = extreme(rng, dtype, (g.window.channels, g.window.height, g.window.width))
    w = weights(rng, shape)
    expected = golden.conv2d(x, w, stride, pads, dilation, g.groups)
    return x, w, expected, np.empty(expected.shape, np.int32)


@given(seeds, grouped_windows(), input_types)
def test_grouped_conv2d(kernels, seed, geometry, dtype):
    x, w, expected, a = case(seed, geometry, dtype, lambda rng, shape: extreme(rng, np.int8, shape))
    room = scratch(2 * -(-w[0].size // 16) * 16)
    kernels.esnn_grouped_conv2d(p(x), S8 if dtype is np.int8 else U8, p(w), p(room), p(a), ctypes.byref(geometry[0]))
    np.testing.assert_array_equal(a, expected)


@given(seeds, grouped_windows(), input_types)
def test_grouped_binary_conv2d(kernels, seed, geometry, dtype):
    x, w, expected, a = case(seed, geometry, dtype, signs)
    packed, room = golden.pack_signs(w), scratch(2**14)
    kernels.esnn_grouped_binary_conv2d(
        p(x), S8 if dtype is np.int8 else U8, p(packed), p(room), p(a), ctypes.byref(geometry[0])
    )
    np.testing.assert_array_equal(a, expected)


@pytest.mark.parametrize("binary", [False, True])
def test_groups_of_many_channels_use_the_plain_kernels(kernels, binary):
    """Enough channels, pixels and outputs for tables and vectors."""
    window = Window(3 * 24, 9, 10, 3 * 16, 9, 10, 3, 3, 1, 1, 1, 1)
    geometry = (GroupedWindow(window, 1, 1, 3), (48, 24, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
    weights = signs if binary else lambda rng, shape: extreme(rng, np.int8, shape)
    x, w, expected, a = case(7, geometry, np.uint8, weights)
    stored = golden.pack_signs(w) if binary else w
    kernel = kernels.esnn_grouped_binary_conv2d if binary else kernels.esnn_grouped_conv2d
    kernel(p(x), U8, p(stored), p(scratch(2**14)), p(a), ctypes.byref(geometry[0]))
    np.testing.assert_array_equal(a, expected)


@st.composite
def depthwise_windows(draw):
    """Three columns side by side, over images down to one column."""
    size, pads = draw(st.tuples(st.integers(1, 6), st.integers(1, 7))), tuple(draw(st.integers(0, 2)) for _ in range(4))
    kernel, stride, dilation = (draw(st.integers(1, 3)), 3), (draw(st.integers(1, 2)), 1), (draw(st.integers(1, 2)), 1)
    rooms = size[0] + pads[0] + pads[2] - dilation[0] * (kernel[0] - 1) - 1, size[1] + pads[1] + pads[3] - 3
    assume(min(rooms) >= 0)
    groups, each = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    window = Window(groups, *size, groups * each, rooms[0] // stride[0] + 1, rooms[1] + 1, *kernel, *stride, *pads[:2])
    return GroupedWindow(window, *dilation, groups), (groups * each, 1, *kernel), stride, pads, dilation


@given(seeds, depthwise_windows(), input_types, st.booleans())
def test_depthwise_conv2d_of_three_columns(kernels, seed, geometry, dtype, binary):
    weights = signs if binary else lambda rng, shape: extreme(rng, np.int8, shape)
    x, w, expected, a = case(seed, geometry, dtype, weights)
    kernel = kernels.esnn_grouped_binary_conv2d if binary else kernels.esnn_grouped_conv2d
    stored = golden.pack_signs(w) if binary else w
    kernel(p(x), S8 if dtype is np.int8 else U8, p(stored), None, p(a), ctypes.byref(geometry[0]))
    np.testing.assert_array_equal(a, expected)


def fields(bits):
    return lambda rng, shape: extreme(rng, np.int8, shape, (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))


sizes = st.one_of(st.integers(1, 70), st.sampled_from([127, 128, 129, 300]))


@given(seeds, sizes, st.integers(1, 40), input_types, widths)
def test_packed_linear(kernels, seed, inputs, outputs, dtype, bits):
    rng = np.random.default_rng(seed)
    x, w = extreme(rng, dtype, inputs), fields(bits)(rng, (outputs, inputs))
    a, rows, room = np.empty(outputs, np.int32), packed_rows(w, bits), scratch(-(-inputs // 16) * 16)
    kernels.esnn_packed_linear(p(x), S8 if dtype is np.int8 else U8, p(rows), bits, p(room), p(a), inputs, outputs)
    np.testing.assert_array_equal(a, golden.linear(x, w))


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize(("value", "dtype"), [(255, np.uint8), (127, np.int8), (-128, np.int8)])
def test_packed_sums_of_the_largest_inputs(kernels, bits, value, dtype):
    """Sums of 16 bits would overflow, were they not added up in time."""
    x, ends = np.full(1000, value, dtype), [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]
    w = np.repeat(np.tile(ends, 9), 1000).reshape(18, 1000).astype(np.int8)
    a, rows, room = np.empty(18, np.int32), packed_rows(w, bits), scratch(1008)
    kernels.esnn_packed_linear(p(x), S8 if dtype is np.int8 else U8, p(rows), bits, p(room), p(a), 1000, 18)
    assert a.tolist() == [1000 * value * end for end in ends] * 9


@given(seeds, grouped_windows(), input_types, widths)
def test_packed_conv2d(kernels, seed, geometry, dtype, bits):
    x, w, expected, a = case(seed, geometry, dtype, fields(bits))
    parts = np.split(w.reshape(len(w), -1), geometry[0].groups)
    rows, room = np.concatenate([packed_rows(part, bits) for part in parts]), scratch(2 * -(-w[0].size // 16) * 16)
    kernels.esnn_packed_conv2d(
        p(x), S8 if dtype is np.int8 else U8, p(rows), bits, p(room), p(a), ctypes.byref(geometry[0])
    )
    np.testing.assert_array_equal(a, expected)


@given(seeds, st.one_of(sizes, st.sampled_from([4096, 4500])), st.integers(1, 40), widths,
       st.sampled_from([0, 0.1, 0.5, 1]))  # fmt: skip
def test_event_packed_linear(kernels, seed, inputs, outputs, bits, activity):
    rng = np.random.default_rng(seed)
    x, w = (rng.random(inputs) < activity).astype(np.uint8), fields(bits)(rng, (outputs, inputs))
    if seed % 3 == 0:
        w[:] = 2 ** (bits - 1) - 1  # sums at their limits
    a, rows, room = np.empty(outputs, np.int32), packed_rows(w, bits), np.full(inputs, 12345, np.uint16)
    kernels.esnn_event_packed_linear(p(x), p(rows), bits, p(room), p(a), inputs, outputs)
    np.testing.assert_array_equal(a, golden.linear(x, w))


@given(seeds, geometries(), st.sampled_from([3, 40]), st.sampled_from([1, 7, 8, 9, 16, 17, 33]), widths,
       st.sampled_from([0, 0.1, 0.5, 1]))  # fmt: skip
def test_event_packed_conv2d(kernels, seed, geometry, channels, outputs, bits, activity):
    """Lists of more than 17 and 85 rows among them."""
    (_, _, size, kernel, strides, pads), rng = geometry, np.random.default_rng(seed)
    x, w = (rng.random((channels, *size)) < activity).astype(np.uint8), fields(bits)(rng, (outputs, channels, *kernel))
    expected = golden.conv2d(x, w, strides, pads)
    a, rows = np.empty(expected.shape, np.int32), packed_rows(np.moveaxis(w, 1, -1).reshape(outputs, -1), bits)
    window = Window(channels, *size, outputs, *expected.shape[1:], *kernel, *strides, *pads[:2])
    record = size[1] * channels + (size[1] + 1) * -(-channels // 32)
    room = np.full(kernel[0] * (kernel[1] * channels + record), 12345, np.uint16)
    kernels.esnn_event_packed_conv2d(p(x), p(rows), bits, p(room), p(a), ctypes.byref(window))
    np.testing.assert_array_equal(a, expected)
