"""The kernels of backward and descent against NumPy: random shapes, values at the ends of their ranges."""

from __future__ import annotations

import ctypes

import golden
import golden_layers
import numpy as np
import pytest
from golden_layers import ends
from hypothesis import given
from hypothesis import strategies as st
from kernel_inputs import Descent, p

SIZES = (st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 60))
STEPS = ((-(2**30), 2**30), (-3, 3))
FORMATS = {"uint8": 0, "int8": 1, "int32": 2}


def signs(latent):
    return golden.pack_signs(np.where(latent >= 0, 1, -1))


@given(*SIZES)
def test_backward(kernels, seed, outputs, inputs):
    rng = np.random.default_rng(seed)
    g = ends(rng, -(2**30) // (127 * outputs), 2**30 // (127 * outputs), outputs)
    w, back = ends(rng, -127, 127, (outputs, inputs), np.int8), np.full(inputs, 77, np.int32)
    kernels.esnn_backward_linear(p(g), p(w), p(back), outputs, inputs)
    np.testing.assert_array_equal(back, golden_layers.backward(g, w))
    kernels.esnn_backward_binary_linear(p(g), p(signs(w)), p(back), outputs, inputs)
    np.testing.assert_array_equal(back, golden_layers.backward(g, np.where(w >= 0, 1, -1)))


@given(*SIZES, st.integers(1, 15), st.booleans())
def test_gradients_of_neurons(kernels, seed, width, size, k, in_place):
    rng = np.random.default_rng(seed)
    g, theta = ends(rng, -(2**30), 2**30, size), int(rng.integers(0, 9000))
    v = (theta + rng.integers(-(2**k), 2**k, size, endpoint=True)).astype(np.int32)
    to = g.copy() if in_place else np.empty(size, np.int32)
    kernels.esnn_empf_gradient(p(to) if in_place else p(g), p(v), p(to), size, theta, k)
    np.testing.assert_array_equal(to, golden_layers.empf_gradient(g, v, theta, k))
    bits, current = int(rng.choice([1, 2, 4, 8])), v.copy()
    current[rng.random(size) < 0.5] = rng.choice([theta + 2 ** (k + bits) - 2 ** (k - 1), 2**30, -(2**30)])
    to = g.copy() if in_place else to
    kernels.esnn_parallel_empf_gradient(p(to) if in_place else p(g), p(current), p(to), size, theta, k, bits)
    np.testing.assert_array_equal(to, golden_layers.parallel_empf_gradient(g, current, theta, k, bits))
    width, shift = width * 700, int(np.ceil(np.log2(width * 700)))
    edges = np.array([-width, 1 - width, -1, 0, 1, width - 1, width, -(2**22), 2**22])
    m = theta + np.where(rng.random(size) < 0.5, rng.choice(edges, size), rng.integers(-2 * width, 2 * width, size))
    s = (m >= theta).astype(np.uint8)
    v = (m - theta * golden.int64(s)).astype(np.int32)
    to = g.copy() if in_place else to
    kernels.esnn_lif_gradient(p(to) if in_place else p(g), p(v), p(s), p(to), size, theta, width, shift)
    np.testing.assert_array_equal(to, golden_layers.lif_gradient(g, v, s, theta, width, shift))
    drop, lam = int(rng.integers(0, 9000)), int(rng.integers(0, 2**15, endpoint=True))
    to = g.copy() if in_place else np.empty(size, np.int32)
    kernels.esnn_lif_drop_gradient(p(to) if in_place else p(g), p(v), p(s), p(to), size, theta, drop, width, shift)
    wanted = golden_layers.triangle(g, golden.int64(v) + drop * golden.int64(s), theta, width, shift)
    np.testing.assert_array_equal(to, wanted)
    to = g.copy() if in_place else np.empty(size, np.int32)
    current = (v - rng.integers(-width, width, size)).astype(np.int32)
    kernels.esnn_lif_clear_gradient(
        p(to) if in_place else p(g), p(v), p(current), p(to), size, lam, theta, width, shift
    )
    wanted = golden_layers.triangle(g, golden.integrate(v, current, lam), theta, width, shift)
    np.testing.assert_array_equal(to, wanted)


@given(*SIZES, st.integers(1, 5))
def test_of_enlarged_images_a_pixel_gets_all_errors(kernels, seed, height, width, channels):
    rng = np.random.default_rng(seed)
    rows, columns = (rng.integers(0, side, rng.integers(1, 7)).astype(np.uint16) for side in (height, width))
    g, back = ends(rng, -(2**24), 2**24, (channels, len(rows), len(columns))), np.empty(channels * height * width, "i4")
    kernels.esnn_backward_upsample2d(
        p(g), p(back), channels, height, width, p(rows), p(columns), len(rows), len(columns)
    )
    wanted = golden_layers.backward_upsample(g, rows, columns, (height, width))
    np.testing.assert_array_equal(back, wanted.ravel())


@given(*SIZES[:2], st.sampled_from([("uint8", -1, 255), ("uint8", 0, 15), ("int8", -128, 127)]), st.booleans())
def test_errors_pass_where_nothing_was_clamped(kernels, seed, size, kind, in_place):
    rng, (dtype, low, high) = np.random.default_rng(seed), kind
    g, y = ends(rng, -(2**30), 2**30, size), ends(rng, low if dtype == "int8" else 0, high, size, dtype)
    to = g.copy() if in_place else np.empty(size, np.int32)
    kernels.esnn_clamp_gradient(p(to) if in_place else p(g), p(y), FORMATS[dtype], p(to), size, low, high)
    np.testing.assert_array_equal(to, np.where((low < golden.int64(y)) & (golden.int64(y) < high), g, 0))


@given(*SIZES, st.sampled_from([("uint8", 0, 1), ("uint8", 0, 255), ("int8", -128, 127), ("int32", 0, 2**15 - 1)]))
def test_descent(kernels, seed, outputs, inputs, kind):
    """Several steps on the same weights: bits of 1-bit weights are patched, and stay the signs of their latents."""
    rng = np.random.default_rng(seed)
    dtype, low, high = kind
    w = ends(rng, -127, 127, (outputs, inputs), np.int8)
    latent, packed, expected = w.copy(), signs(w), w.copy()
    shift = int(rng.choice([1, 2, 24, 30, rng.integers(1, 31)]))
    d = Descent(inputs, outputs, 2**30 // max(-low, high), shift, int(rng.integers(2**32)))
    scratch = np.full(2 * inputs, 99, np.uint32)
    for count in (0, 1, 2**31 - 1):
        x, step = ends(rng, low, high, inputs, dtype), ends(rng, *STEPS[rng.integers(2)], outputs)
        tail = (p(x), FORMATS[dtype], p(step), count, p(scratch), ctypes.byref(d))
        kernels.esnn_learn_linear(p(w), *tail)
        kernels.esnn_learn_binary_linear(p(packed), p(latent), *tail)
        expected = golden_layers.descend(expected, x, step, count, limit=d.limit, shift=d.shift, seed=d.seed)
        np.testing.assert_array_equal(w, expected)
        np.testing.assert_array_equal(latent, expected)
        np.testing.assert_array_equal(packed, signs(expected))


@given(*SIZES, st.sampled_from([0, 7, 2**31 - 1]))
def test_thresholds_and_biases(kernels, seed, shift, size, count):
    rng = np.random.default_rng(seed)
    g, theta = ends(rng, -(2**30), 2**30, size), np.array([rng.choice([0, 2**23 - 1, 900])], np.int32)
    m = int(rng.integers(0, min(2**30 - 1, (2**52 - 2 ** (shift - 1)) // (size * 2**30)), endpoint=True))
    limit = int(rng.choice([1, 2**31, size * 2**30]))
    by_channel = ends(rng, 0, 2**23 - 1, size)
    wanted, tail = golden_layers.learn_threshold(theta, g, m, count, limit, shift, seed), (
        ctypes.c_int64(limit), m, count, shift, ctypes.c_uint32(seed))  # fmt: skip
    kernels.esnn_learn_threshold(p(theta), p(g), size, *tail)
    assert theta == wanted
    images = ends(rng, -(2**30), 2**30, (size, 2))
    wanted = golden_layers.learn_threshold(by_channel, images, m // 2, count, limit, shift, seed)
    kernels.esnn_learn_thresholds(p(by_channel), size, p(images), 2, ctypes.c_int64(limit), m // 2, *tail[2:])
    np.testing.assert_array_equal(by_channel, wanted)
    e, bias, counter = ends(rng, -(2**15), 2**15, size), ends(rng, *golden.SAT24, size), np.array([count], np.int32)
    moved, counted = golden_layers.learn_bias(bias, e, count, shift, seed)
    kernels.esnn_learn_bias(p(bias), p(e), size, p(counter), shift, ctypes.c_uint32(seed))
    np.testing.assert_array_equal(bias, moved)
    assert int(counter[0]) == counted


@pytest.mark.parametrize("label", [0, 3])
def test_error_of_the_readout(kernels, label):
    rng = np.random.default_rng(label)
    weight, trace = ends(rng, -127, 127, (4, 9), np.int8), ends(rng, 0, 2**15 - 1, 9)
    bias, multiplier, e = ends(rng, -3000, 3000, 4), ends(rng, 0, 2**20, 4), np.empty(4, np.int32)

    class Readout(ctypes.Structure):
        _fields_ = [("multiplier", ctypes.c_void_p), *((name, ctypes.c_uint32) for name in (
            "classes", "inputs", "shift", "weight_shift", "bias_shift", "seed"))]  # fmt: skip

    constants = Readout(multiplier.ctypes.data, 4, 9, 30, 0, 0, 0)
    kernels.esnn_readout_error(p(weight), p(bias), p(trace), label, p(e), ctypes.byref(constants))
    np.testing.assert_array_equal(e, golden_layers.readout_error(weight, bias, trace, multiplier, label, 30))
