"""The kernels of learning through windows over images against NumPy: random geometries, values at their ends."""

from __future__ import annotations

import ctypes

import golden
import golden_layers
import numpy as np
from golden_layers import ends
from hypothesis import given
from hypothesis import strategies as st
from kernel_inputs import Descent, GroupedWindow, Window, geometries, grouped_geometries, p, places_of, seeds

kinds = st.sampled_from([("uint8", 0, 1), ("uint8", 0, 255), ("int8", -128, 127)])


def bits(latent):
    return golden.pack_signs(np.where(latent >= 0, 1, -1))


def window(channels, size, outputs, count, kernel, strides, pads):
    """By reference."""
    return ctypes.byref(Window(channels, *size, outputs, *count, *kernel, *strides, *pads[:2]))


def grouped(channels, size, outputs, count, kernel, attributes):
    """Geometry of a convolution by reference, and how the kernel for it is called: with places apart, or without."""
    base = Window(channels, *size, outputs, *count, *kernel, *attributes["strides"], *attributes["pads"][:2])
    gaps = attributes["dilations"]
    return ctypes.byref(GroupedWindow(base, *gaps, attributes["group"])), "" if gaps == (1, 1) else "dilated_"


def places_under(size, kernel, attributes):
    return places_of(size, kernel, *(attributes[name] for name in ("strides", "pads", "dilations")))


@given(grouped_geometries(), seeds)
def test_backward(kernels, geometry, seed):
    channels, outputs, size, kernel, attributes = geometry
    rng, count = np.random.default_rng(seed), places_under(size, kernel, attributes)
    most = 2**30 // (127 * outputs * kernel[0] * kernel[1])
    g, back = ends(rng, -most, most, (outputs, *count)), np.full((channels, *size), 77, np.int32)
    w = ends(rng, -127, 127, (outputs, channels // attributes["group"], *kernel), np.int8)
    over, apart = grouped(channels, size, outputs, count, kernel, attributes)
    kernels[f"esnn_backward_{apart}conv2d"](p(g), p(w), p(back), over)
    np.testing.assert_array_equal(back, golden_layers.backward_conv(g, w, size, **attributes))
    kernels[f"esnn_backward_{apart}binary_conv2d"](p(g), p(bits(w)), p(back), over)
    np.testing.assert_array_equal(back, golden_layers.backward_conv(g, np.where(w >= 0, 1, -1), size, **attributes))


@given(geometries(), seeds, kinds)
def test_backward_through_the_largest_pixels(kernels, geometry, seed, kind):
    channels, _, size, kernel, strides, pads = geometry
    rng, count = np.random.default_rng(seed), places_of(size, kernel, strides, pads)
    g = ends(rng, -(2**30) // 9, 2**30 // 9, (channels, *count))
    dtype, low, high = kind
    x, back = ends(rng, low, high, (channels, *size), dtype), np.full((channels, *size), 77, np.int32)
    over = window(channels, size, channels, count, kernel, strides, pads)
    kernels.esnn_backward_maxpool2d(p(g), p(x), int(dtype == "int8"), p(back), over)
    np.testing.assert_array_equal(back, golden_layers.backward_maxpool(g, x, kernel, strides, pads))


@given(geometries(), seeds)
def test_backward_through_sums(kernels, geometry, seed):
    channels, _, size, kernel, strides, pads = geometry
    rng, count = np.random.default_rng(seed), places_of(size, kernel, strides, pads)
    g, back = ends(rng, -(2**30) // 9, 2**30 // 9, (channels, *count)), np.full((channels, *size), 77, np.int32)
    kernels.esnn_backward_sum_pool2d(p(g), p(back), window(channels, size, channels, count, kernel, strides, pads))
    np.testing.assert_array_equal(back, golden_layers.backward_sum_pool(g, size, kernel, strides, pads))


@given(grouped_geometries(), seeds, kinds)
def test_descent(kernels, geometry, seed, kind):
    """Several steps on the same weights; sums of many windows leave 32 bits."""
    channels, outputs, size, kernel, attributes = geometry
    dtype, low, high = kind
    rng, count = np.random.default_rng(seed), places_under(size, kernel, attributes)
    w = ends(rng, -127, 127, (outputs, channels // attributes["group"], *kernel), np.int8)
    latent, packed, expected = w.copy(), bits(w), w.copy()
    shift = int(rng.choice([1, 2, 24, 30, rng.integers(1, 31)]))
    d = Descent(w[0].size, outputs, 2**30 // max(-low, high), shift, seed)
    scratch = np.full(3 * w[0].size, 99, np.uint32)
    over, apart = grouped(channels, size, outputs, count, kernel, attributes)
    numbers = attributes | {"limit": d.limit, "shift": d.shift, "seed": d.seed}
    for step_count in (0, 2**31 - 1):
        x = ends(rng, low, high, (channels, *size), dtype)
        most = int(rng.choice([2**30, 3]))
        step = ends(rng, -most, most, (outputs, *count))
        tail = (p(x), int(dtype == "int8"), p(step), step_count, p(scratch), ctypes.byref(d), over)
        kernels[f"esnn_learn_{apart}conv2d"](p(w), *tail)
        kernels[f"esnn_learn_{apart}binary_conv2d"](p(packed), p(latent), *tail)
        expected = golden_layers.descend_conv(expected, x, step, step_count, **numbers)
        np.testing.assert_array_equal(w, expected)
        np.testing.assert_array_equal(latent, expected)
        np.testing.assert_array_equal(packed, bits(expected))
