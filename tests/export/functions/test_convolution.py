"""Learning through windows over images: every function against NumPy loops, on values at the ends of their ranges."""

from __future__ import annotations

import golden
import golden_layers
import numpy as np
from functions import assert_function
from golden_layers import ends
from hypothesis import given, settings
from kernel_inputs import geometries, grouped_geometries, places_of, seeds

FEW = settings(max_examples=5)


@FEW
@given(grouped_geometries(), seeds)
def test_backward(geometry, seed):
    channels, outputs, size, kernel, attributes = geometry
    rng, group = np.random.default_rng(seed), attributes["group"]
    count = places_of(size, kernel, *(attributes[name] for name in ("strides", "pads", "dilations")))
    most = 2**30 // (127 * outputs * kernel[0] * kernel[1])
    g = ends(rng, -most, most, (1, outputs, *count))
    w = ends(rng, -127, 127, (outputs, channels // group, *kernel), np.int8)
    wanted = golden_layers.backward_conv(g[0], w, size, **attributes)[None]
    assert_function("BackwardConv2d", {"g": g, "w": w}, [wanted], ["int32"], size=size, **attributes)
    signs = np.where(w >= 0, 1, -1)
    wanted = golden_layers.backward_conv(g[0], signs, size, **attributes)[None]
    assert_function("BackwardBinaryConv2d", {"g": g, "w": golden.pack_signs(signs)}, [wanted], ["int32"],
                    fan_in=w[0].size, kernel=w.shape, size=size, **attributes)  # fmt: skip


@FEW
@given(geometries(), seeds)
def test_a_pooling_hands_errors_to_the_first_of_the_largest_pixels(geometry, seed):
    channels, _, size, kernel, strides, pads = geometry
    rng, count = np.random.default_rng(seed), places_of(size, kernel, strides, pads)
    g = ends(rng, -(2**30) // 9, 2**30 // 9, (1, channels, *count))
    low, high, dtype = [(0, 1, np.uint8), (0, 255, np.uint8), (-128, 127, np.int8)][rng.integers(3)]
    x = ends(rng, low, high, (1, channels, *size), dtype)
    wanted = golden_layers.backward_maxpool(g[0], x[0], kernel, strides, pads)[None]
    assert_function("BackwardMaxPool2d", {"g": g, "x": x}, [wanted], ["int32"],
                    kernel_shape=kernel, strides=strides, pads=pads)  # fmt: skip


def test_of_equal_pixels_the_first_gets_the_error():
    g, x = np.array([[[[7]]]], np.int32), np.array([[[[1, 2], [2, 2]]]], np.uint8)
    assert_function("BackwardMaxPool2d", {"g": g, "x": x}, [[[[[0, 7], [0, 0]]]]], ["int32"],
                    kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])  # fmt: skip


@FEW
@given(geometries(), seeds)
def test_a_sum_hands_errors_to_all_pixels(geometry, seed):
    channels, _, size, kernel, strides, pads = geometry
    rng, count = np.random.default_rng(seed), places_of(size, kernel, strides, pads)
    g = ends(rng, -(2**30) // 9, 2**30 // 9, (1, channels, *count))
    wanted = golden_layers.backward_sum_pool(g[0], size, kernel, strides, pads)[None]
    assert_function("BackwardSumPool2d", {"g": g}, [wanted], ["int32"],
                    size=size, kernel_shape=kernel, strides=strides, pads=pads)  # fmt: skip


@FEW
@given(grouped_geometries(), seeds)
def test_descent(geometry, seed):
    channels, outputs, size, kernel, attributes = geometry
    places = places_of(size, kernel, *(attributes[name] for name in ("strides", "pads", "dilations")))
    rng, fan_in = np.random.default_rng(seed), channels // attributes["group"]
    dtype, low, high = [("uint8", 0, 1), ("uint8", 0, 255), ("int8", -128, 127)][rng.integers(3)]
    x, step = ends(rng, low, high, (1, channels, *size), dtype), ends(rng, -(2**30), 2**30, (1, outputs, *places))
    w, count = ends(rng, -127, 127, (outputs, fan_in, *kernel), np.int8), np.array([rng.integers(2**31)], np.int32)
    attributes |= {"limit": 2**30 // max(-low, high), "shift": int(rng.integers(1, 31)), "seed": seed}
    wanted = golden_layers.descend_conv(w, x[0], step[0], int(count[0]), **attributes)
    inputs = {"weight": w, "x": x, "step": step, "count": count}
    assert_function("LearnConv2d", inputs, [wanted], ["int8"], **attributes)
    inputs = {"weight": golden.pack_signs(np.where(w >= 0, 1, -1)), "latent": w, "x": x, "step": step, "count": count}
    expected = [golden.pack_signs(np.where(wanted >= 0, 1, -1)), wanted]
    assert_function("LearnBinaryConv2d", inputs, expected, ["uint8", "int8"], fill=[0, 0, 0, -w[0].size % 8],
                    **attributes)  # fmt: skip
