"""The kernels that x86-64 chooses of, each called by its own name, over shapes that fill vectors and tiles."""

from __future__ import annotations

import ctypes
from pathlib import Path

import golden
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from kernel_inputs import (
    GroupedWindow,
    Window,
    bit_counts,
    extreme,
    input_types,
    leaks,
    membranes,
    p,
    seeds,
    shifts,
    signs,
)

from edgesnn.export.c_kernels import event_rows, packed_rows

NEEDS = {
    "portable": set(),
    "avx2": {"avx2"},
    "avx512": {"avx512f", "avx512bw", "avx512vl", "avx512_vnni"},
}


@pytest.fixture(scope="module")
def kernel(kernels):
    """The kernel of a variant, or a skipped test if this processor lacks its instructions."""
    compiled = hasattr(kernels, "esnn_avx2_lif")
    flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split()) if compiled else set()

    def find(variant, name):
        if not compiled or not NEEDS[variant] <= flags:
            pytest.skip(f"this processor has no {variant}")
        return getattr(kernels, f"esnn_{variant}_{name}")

    return find


variants = pytest.mark.parametrize("variant", list(NEEDS))
#: The kernels of a synapse, by the bits of its weights.
NAMES = {1: "binary_{}", 2: "packed_{}", 4: "packed_{}", 8: "{}"}
widths = st.sampled_from(list(NAMES))


def weights(rng, shape, bits):
    """Numbers of so many bits, as they are and as they are stored; sometimes all are alike."""
    ends = (-1, 1) if bits == 1 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if rng.random() < 0.2:
        w = np.full(shape, rng.choice(ends), np.int8)
    else:
        w = signs(rng, shape) if bits == 1 else extreme(rng, np.int8, shape, ends)
    if bits in (2, 4):
        return w, packed_rows(w.reshape(len(w), -1), bits)
    return w, golden.pack_signs(w) if bits == 1 else w


def told(bits):
    """What a kernel is told of the bits of its weights."""
    return [bits] if bits in (2, 4) else []


def inputs_of(rng, dtype, shape):
    limits = np.iinfo(dtype)
    return (
        np.full(shape, rng.choice([limits.min, limits.max]), dtype)
        if rng.random() < 0.2
        else extreme(rng, dtype, shape)
    )


@variants
@settings(max_examples=40)
@given(seeds, st.one_of(st.integers(1, 300), st.integers(1900, 4300)), st.integers(1, 40), input_types, widths)
def test_linear(kernel, variant, seed, inputs, outputs, dtype, bits):
    call = kernel(variant, NAMES[bits].format("linear"))
    rng = np.random.default_rng(seed)
    x = inputs_of(rng, dtype, inputs)
    w, stored = weights(rng, (outputs, inputs), bits)
    a, scratch = np.empty(outputs, np.int32), np.full(max(1024, inputs + 15), 12345, np.int16)
    call(p(x), dtype is np.int8, p(stored), *told(bits), p(scratch), p(a), inputs, outputs)
    np.testing.assert_array_equal(a, golden.linear(x, w))


@variants
@pytest.mark.parametrize(("value", "dtype"), [(255, np.uint8), (127, np.int8), (-128, np.int8)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_sums_of_the_largest_inputs(kernel, variant, value, dtype, sign):
    """Sums of 16 bits would overflow, were they not added up in time."""
    n, x = 9000, np.full(9000, value, dtype)
    packed = golden.pack_signs(np.full((5, n), sign, np.int8))
    a, scratch = np.empty(5, np.int32), np.full(65536, 12345, np.int16)
    kernel(variant, "binary_linear")(p(x), dtype is np.int8, p(packed), p(scratch), p(a), n, 5)
    assert a.tolist() == [n * value * sign] * 5
    g = Window(3000, 1, 3, 5, 1, 1, 1, 3, 1, 1, 0, 0)
    kernel(variant, "binary_conv2d")(p(x), dtype is np.int8, p(packed), p(scratch), p(a), ctypes.byref(g))
    assert a.tolist() == [n * value * sign] * 5


@variants
@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize(("value", "dtype"), [(255, np.uint8), (127, np.int8), (-128, np.int8)])
def test_packed_sums_of_the_largest_inputs(kernel, variant, value, dtype, bits):
    n, x, ends = 9000, np.full(9000, value, dtype), [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]
    rows = packed_rows(np.repeat(ends, n).reshape(2, n), bits)
    a, scratch = np.empty(2, np.int32), np.full(65536, 12345, np.int16)
    kernel(variant, "packed_linear")(p(x), dtype is np.int8, p(rows), bits, p(scratch), p(a), n, 2)
    assert a.tolist() == [n * value * end for end in ends]
    g = GroupedWindow(Window(3000, 1, 3, 2, 1, 1, 1, 3, 1, 1, 0, 0), 1, 1, 1)
    kernel(variant, "packed_conv2d")(p(x), dtype is np.int8, p(rows), bits, p(scratch), p(a), ctypes.byref(g))
    assert a.tolist() == [n * value * end for end in ends]


@st.composite
def windows(draw):
    """Widths around those of vectors, strides, and channels beyond those of a tile."""
    kernel = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    channels = draw(st.one_of(st.integers(1, 16), st.sampled_from([32, 40, 61, 130, 300])))
    height, width = (draw(st.integers(1, 20 if channels < 17 else 7)) for _ in range(2))
    rows, columns = height + pads[0] + pads[2] - kernel[0], width + pads[1] + pads[3] - kernel[1]
    assume(rows >= 0 and columns >= 0)
    return Window(channels, height, width, draw(st.integers(1, 40)), rows // stride[0] + 1, columns // stride[1] + 1,
                  *kernel, *stride, pads[0], pads[1]), pads  # fmt: skip


def check_conv(call, seed, g, pads, dtype, bits):
    rng = np.random.default_rng(seed)
    kernel, stride = (g.kernel_height, g.kernel_width), (g.stride_height, g.stride_width)
    x = inputs_of(rng, dtype, (g.channels, g.height, g.width))
    w, stored = weights(rng, (g.out_channels, g.channels, *kernel), bits)
    width = (-(-g.out_width // 4) * 4 - 1) * stride[1] + kernel[1]
    tables = 4 * (1024 + kernel[0] * kernel[1] * g.out_channels)  # bytes, as the rest below
    band = 256 * -(-w[0].size // 32) + (g.channels * kernel[0] + 1) * width
    scratch = np.full(-(-max(band, tables) // 2), 12345, np.int16)
    window = GroupedWindow(g, 1, 1, 1) if bits in (2, 4) else g
    a = np.empty((g.out_channels, g.out_height, g.out_width), np.int32)
    call(p(x), dtype is np.int8, p(stored), *told(bits), p(scratch), p(a), ctypes.byref(window))
    np.testing.assert_array_equal(a, golden.conv2d(x, w, stride, pads))


@variants
@settings(max_examples=40)
@given(seeds, windows(), input_types, widths)
def test_conv2d(kernel, variant, seed, geometry, dtype, bits):
    check_conv(kernel(variant, NAMES[bits].format("conv2d")), seed, *geometry, dtype, bits)


TILES = {
    "several rows of tiles": Window(64, 40, 30, 33, 40, 30, 3, 3, 1, 1, 1, 1),
    "several columns of tiles": Window(48, 5, 400, 5, 5, 400, 3, 3, 1, 1, 1, 1),
    "channels a part at a time": Window(516, 6, 6, 34, 6, 6, 3, 3, 1, 1, 1, 1),
    "a kernel no part of which fits": Window(8, 24, 24, 3, 5, 5, 20, 20, 1, 1, 0, 0),
}


@variants
@pytest.mark.parametrize("bits", list(NAMES))
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("name", TILES)
def test_conv2d_of_many_tiles(kernel, variant, name, dtype, bits):
    g = TILES[name]
    pads = (g.padding_top, g.padding_left) * 2
    check_conv(kernel(variant, NAMES[bits].format("conv2d")), 5, g, pads, dtype, bits)


def check_event_conv(kernel, variant, seed, g, pads, bits, activity):
    rng = np.random.default_rng(seed)
    sides, stride = (g.kernel_height, g.kernel_width), (g.stride_height, g.stride_width)
    x = (rng.random((g.channels, g.height, g.width)) < activity).astype(np.uint8)
    w, _ = weights(rng, (g.out_channels, g.channels, *sides), bits)
    by_place = np.moveaxis(w, 1, -1).reshape(len(w), -1)
    rows = event_rows(w) if bits == 8 else packed_rows(by_place, bits)
    record = g.width * g.channels + (g.width + 1) * -(-g.channels // 32)
    scratch = np.full(sides[0] * (sides[1] * g.channels + record), 12345, np.uint16)
    a = np.empty((g.out_channels, g.out_height, g.out_width), np.int32)
    call = kernel(variant, "event_conv2d" if bits == 8 else "event_packed_conv2d")
    call(p(x), p(rows), *told(bits), p(scratch), p(a), ctypes.byref(g))
    np.testing.assert_array_equal(a, golden.conv2d(x, w, stride, pads))


activities = st.sampled_from([0, 0.02, 0.05, 0.3, 1])


@variants
@settings(max_examples=40)
@given(seeds, windows(), st.sampled_from([2, 4, 8]), activities)
def test_event_conv2d(kernel, variant, seed, geometry, bits, activity):
    check_event_conv(kernel, variant, seed, *geometry, bits, activity)


@variants
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("activity", [0.01, 0.3])
@pytest.mark.parametrize("name", TILES)
def test_event_conv2d_of_many_tiles(kernel, variant, name, bits, activity):
    g = TILES[name]
    check_event_conv(kernel, variant, 6, g, (g.padding_top, g.padding_left) * 2, bits, activity)


@variants
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_event_sums_of_the_largest_weights(kernel, variant, bits):
    """Sums of 16 bits would overflow, were they not added up in time."""
    n, least = 9000, -(2 ** (bits - 1))
    g = Window(3000, 1, 3, 40, 1, 1, 1, 3, 1, 1, 0, 0)
    x, w = np.ones(n, np.uint8), np.full((40, n), least, np.int8)
    rows = event_rows(w) if bits == 8 else packed_rows(w, bits)
    a, scratch = np.empty(40, np.int32), np.full(65536, 12345, np.uint16)
    call = kernel(variant, "event_conv2d" if bits == 8 else "event_packed_conv2d")
    call(p(x), p(rows), *told(bits), p(scratch), p(a), ctypes.byref(g))
    assert a.tolist() == [n * least] * 40


@variants
@given(seeds, st.integers(1, 20), st.sampled_from([1, 3, 8, 16, 21, 32, 196]), st.integers(1, 52), st.booleans())
def test_rescale(kernel, variant, seed, outputs, pixels, shift, in_place):
    rng = np.random.default_rng(seed)
    largest = 2**30 if shift <= 22 else 2**20  # products stay below 2^53
    a = extreme(rng, np.int32, (outputs, pixels), (-largest, largest))
    multiplier = extreme(rng, np.int32, outputs, (-min(2**31 - 1, 2**shift), min(2**31 - 1, 2**shift)))
    bias = extreme(rng, np.int32, outputs, (-(2**24), 2**24))
    expected = golden.rescale(a, multiplier, bias, shift)
    current = a if in_place else np.empty_like(a)
    kernel(variant, "rescale")(p(a), p(multiplier), p(bias), p(current), outputs, pixels, shift, 0)
    np.testing.assert_array_equal(current, expected)


@variants
@given(seeds, st.one_of(st.integers(1, 40), st.integers(60, 200)), leaks, st.integers(-(2**20), 2**24), shifts,
       bit_counts)  # fmt: skip
def test_neurons(kernel, variant, seed, n, lam, theta, k, bits):
    v, current = membranes(seed, n)
    s = np.empty(n, np.uint8)
    kernel(variant, "parallel_empf")(p(current), p(s), n, theta, k, bits)
    np.testing.assert_array_equal(s, golden.parallel_empf(current, theta, k, bits))
    for name, constants, expected in (
        ("empf", (theta, k, bits), golden.empf(v, current, lam, theta, k, bits)),
        ("lif", (theta,), golden.lif(v, current, lam, theta)),
    ):
        new = v.copy()
        kernel(variant, name)(p(new), p(current), p(s), n, lam, *constants)
        np.testing.assert_array_equal(s, expected[0])
        np.testing.assert_array_equal(new, expected[1])
