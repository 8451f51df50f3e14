"""Every kernel against the NumPy formulas: random shapes, extreme values, equality of integers."""

from __future__ import annotations

import ctypes
import zlib

import golden
import golden_layers
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from kernel_inputs import Window, bit_counts, extreme, input_types, leaks, membranes, p, seeds, shifts, signs

from edgesnn.export.c_kernels import event_rows
from edgesnn.export.functions.attention import SIGMOID_Q15


class Readout(ctypes.Structure):
    _fields_ = [("multiplier", ctypes.c_void_p)] + [(name, ctypes.c_uint32) for name in (
        "classes", "inputs", "shift", "weight_shift", "bias_shift", "seed")]  # fmt: skip


def patch(fan_in):
    return np.full(-(-fan_in // 16) * 16, 12345, np.int16)  # scratch holds garbage before the call


@given(seeds, st.integers(1, 70), st.integers(1, 20), input_types)
def test_linear(kernels, seed, inputs, outputs, dtype):
    rng = np.random.default_rng(seed)
    x, w = extreme(rng, dtype, inputs), extreme(rng, np.int8, (outputs, inputs))
    a = np.empty(outputs, np.int32)
    kernels.esnn_linear(p(x), dtype is np.int8, p(w), p(patch(inputs)), p(a), inputs, outputs)
    np.testing.assert_array_equal(a, golden.linear(x, w))


@given(seeds, st.integers(1, 70), st.one_of(st.integers(1, 30), st.integers(90, 110)), input_types)
def test_binary_linear(kernels, seed, inputs, outputs, dtype):
    rng = np.random.default_rng(seed)
    x, w = extreme(rng, dtype, inputs), signs(rng, (outputs, inputs))
    a, scratch = np.empty(outputs, np.int32), patch(inputs if outputs < 24 else 1024)
    packed = golden.pack_signs(w)
    kernels.esnn_binary_linear(p(x), dtype is np.int8, p(packed), p(scratch), p(a), inputs, outputs)
    np.testing.assert_array_equal(a, golden.linear(x, w))


@st.composite
def windows(draw):
    """A window over an image, and ONNX pads (top, left, bottom, right) that leave at least one output pixel."""
    dim = st.integers(1, 9)
    kernel, stride = (
        (draw(st.integers(1, 4)), draw(st.integers(1, 4))),
        (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
    )
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    height, width = draw(dim), draw(dim)
    rows, columns = height + pads[0] + pads[2] - kernel[0], width + pads[1] + pads[3] - kernel[1]
    assume(rows >= 0 and columns >= 0)
    channels = st.integers(1, 6)
    window = Window(draw(channels), height, width, draw(channels), rows // stride[0] + 1, columns // stride[1] + 1,
                    *kernel, *stride, pads[0], pads[1])  # fmt: skip
    return window, kernel, stride, pads


@given(seeds, windows(), input_types)
def test_conv2d(kernels, seed, geometry, dtype):
    g, kernel, stride, pads = geometry
    rng = np.random.default_rng(seed)
    x = extreme(rng, dtype, (g.channels, g.height, g.width))
    w = extreme(rng, np.int8, (g.out_channels, g.channels, *kernel))
    a = np.empty((g.out_channels, g.out_height, g.out_width), np.int32)
    scratch = np.full(2 * patch(w[0].size).size, 12345, np.int16)
    kernels.esnn_conv2d(p(x), dtype is np.int8, p(w), p(scratch), p(a), ctypes.byref(g))
    np.testing.assert_array_equal(a, golden.conv2d(x, w, stride, pads))


def table_bytes(g, kernel):
    """Of the tables and rearranged weights of a convolution."""
    return min(-(-g.channels // 8), 4) * (1024 + kernel[0] * kernel[1] * g.out_channels)


@given(seeds, windows(), input_types, st.one_of(st.integers(1, 5), st.integers(6, 90)), st.integers(1, 40))
def test_binary_conv2d(kernels, seed, geometry, dtype, channels, outputs):
    g, kernel, stride, pads = geometry
    g.channels, g.out_channels = channels, outputs
    rng = np.random.default_rng(seed)
    x, w = extreme(rng, dtype, (channels, g.height, g.width)), signs(rng, (outputs, channels, *kernel))
    a = np.empty((outputs, g.out_height, g.out_width), np.int32)
    width = (-(-g.out_width // 4) * 4 - 1) * stride[1] + kernel[1]
    needed = 256 * -(-w[0].size // 32) + (channels * kernel[0] + 1) * width
    scratch = np.full(-(-max(needed, table_bytes(g, kernel)) // 2), 12345, np.int16)
    packed = golden.pack_signs(w)
    kernels.esnn_binary_conv2d(p(x), dtype is np.int8, p(packed), p(scratch), p(a), ctypes.byref(g))
    np.testing.assert_array_equal(a, golden.conv2d(x, w, stride, pads))


def spikes(rng, shape, activity):
    return (rng.random(shape) < activity).astype(np.uint8)


activities = st.sampled_from([0, 0.1, 0.5, 1])


@given(seeds, st.one_of(st.integers(1, 70), st.integers(250, 600)), st.integers(1, 40), activities)
def test_event_linear(kernels, seed, inputs, outputs, activity):
    rng = np.random.default_rng(seed)
    x, w = spikes(rng, inputs, activity), extreme(rng, np.int8, (outputs, inputs))
    a, scratch, rows = np.empty(outputs, np.int32), np.full(inputs, 12345, np.uint16), event_rows(w)
    kernels.esnn_event_linear(p(x), p(rows), p(scratch), p(a), inputs, outputs)
    np.testing.assert_array_equal(a, golden.linear(x, w))


@given(seeds, windows(), st.sampled_from([1, 3, 4, 7, 16, 18, 36]), activities, st.booleans())
def test_event_conv2d(kernels, seed, geometry, outputs, activity, many):
    g, kernel, stride, pads = geometry
    g.out_channels, g.channels = outputs, g.channels * 40 if many else g.channels
    rng = np.random.default_rng(seed)
    x = spikes(rng, (g.channels, g.height, g.width), activity)
    w = extreme(rng, np.int8, (outputs, g.channels, *kernel))
    a = np.empty((outputs, g.out_height, g.out_width), np.int32)
    record = g.width * g.channels + (g.width + 1) * -(-g.channels // 32)
    scratch = np.full(w[0].size + kernel[0] * record, 12345, np.uint16)
    rows = event_rows(w)
    kernels.esnn_event_conv2d(p(x), p(rows), p(scratch), p(a), ctypes.byref(g))
    np.testing.assert_array_equal(a, golden.conv2d(x, w, stride, pads))


U8, S8, S32 = range(3)


@given(seeds, windows(), input_types)
def test_maxpool2d(kernels, seed, geometry, dtype):
    g, kernel, stride, pads = geometry
    assume(max(pads[0::2]) < kernel[0] and max(pads[1::2]) < kernel[1])
    x = extreme(np.random.default_rng(seed), dtype, (g.channels, g.height, g.width))
    y = np.empty((g.channels, g.out_height, g.out_width), dtype)
    kernels.esnn_maxpool2d(p(x), S8 if dtype is np.int8 else U8, p(y), ctypes.byref(g))
    np.testing.assert_array_equal(y, golden.padded_maxpool2d(x, kernel, stride, pads))


@given(seeds, windows(), st.sampled_from([np.uint8, np.int8, np.int32]))
def test_sum_pool2d(kernels, seed, geometry, dtype):
    g, kernel, stride, pads = geometry
    limits = (-(2**20), 2**20) if dtype is np.int32 else None
    x = extreme(np.random.default_rng(seed), dtype, (g.channels, g.height, g.width), limits)
    a = np.empty((g.channels, g.out_height, g.out_width), np.int32)
    kernels.esnn_sum_pool2d(p(x), {np.uint8: U8, np.int8: S8, np.int32: S32}[dtype], p(a), ctypes.byref(g))
    np.testing.assert_array_equal(a, golden.sum_pool2d(x, kernel, stride, pads))


@given(seeds, windows(), st.integers(0, 52), st.booleans())
def test_average_pool2d(kernels, seed, geometry, shift, mean):
    g, kernel, stride, pads = geometry
    x = extreme(np.random.default_rng(seed), np.uint8, (g.channels, g.height, g.width))
    multiplier = min(2**30, max(1, 2**shift // (kernel[0] * kernel[1]))) if mean else 1
    y = np.empty((g.channels, g.out_height, g.out_width), np.uint8)
    kernels.esnn_average_pool2d(p(x), p(y), ctypes.byref(g), multiplier, shift)
    np.testing.assert_array_equal(y, golden.average_pool2d(x, kernel, stride, pads, multiplier, shift))


@given(seeds, st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.booleans(), st.booleans())
def test_rescale(kernels, seed, outputs, pixels, shift, lifted, in_place):
    rng = np.random.default_rng(seed)
    a = extreme(rng, np.int32, (outputs, pixels), (-(2**22), 2**22))
    limit = min(2**30, 2**shift)  # the exporter proves that the current fits int32
    multiplier = extreme(rng, np.int32, outputs, (-limit, limit))
    bias = extreme(rng, np.int32, outputs, (-(2**24), 2**24))
    expected = golden.rescale(a, multiplier, bias, shift)
    current = a if in_place else np.empty_like(a)
    lift = max(min(33 - shift, 8), 0) if lifted else 0  # 23 bits and 8 fit int32
    kernels.esnn_rescale(p(a), p(multiplier), p(bias), p(current), outputs, pixels, shift, lift)
    np.testing.assert_array_equal(current, expected)


@given(seeds, st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.integers(1, 8), input_types)
def test_requantize(kernels, seed, outputs, pixels, shift, bits, dtype):
    rng = np.random.default_rng(seed)
    a = extreme(rng, np.int32, (outputs, pixels), (-(2**22), 2**22))
    multiplier = extreme(rng, np.int32, outputs, (-(2**30), 2**30) if seed % 2 else (-(2 ** min(shift, 20)), 1))
    bias = extreme(rng, np.int32, outputs, (-(2**31), 2**31 - 1) if seed % 3 == 0 else (-9, 9))
    y, signed = np.empty((outputs, pixels), dtype), dtype is np.int8
    kernels.esnn_requantize(p(a), p(multiplier), p(bias), p(y), outputs, pixels, shift, bits, S8 if signed else U8)
    np.testing.assert_array_equal(y, golden.requantize(a, multiplier, bias, shift, bits, signed))


@given(seeds, st.integers(1, 40), input_types, st.sampled_from([0, 1, 2]))
def test_widen_and_add(kernels, seed, n, dtype, place):
    """A sum may be written over one of its terms."""
    rng = np.random.default_rng(seed)
    x, b = extreme(rng, dtype, n), extreme(rng, np.int32, n, (-(2**30), 2**30))
    a = np.empty(n, np.int32)
    kernels.esnn_widen(p(x), S8 if dtype is np.int8 else U8, p(a), n)
    np.testing.assert_array_equal(a, x)
    expected, y = golden.int64(a) + b, [a, b, np.empty_like(a)][place]
    kernels.esnn_add(p(a), p(b), p(y), n)
    np.testing.assert_array_equal(y, expected)


@given(seeds, st.integers(1, 40), leaks, st.integers(-(2**20), 2**24), shifts, bit_counts)
def test_empf(kernels, seed, n, lam, theta, k, bits):
    v, current = membranes(seed, n)
    spikes, residual = golden.empf(v, current, lam, theta, k, bits)
    s = np.empty(n, np.uint8)
    kernels.esnn_empf(p(v), p(current), p(s), n, lam, theta, k, bits)
    np.testing.assert_array_equal(s, spikes)
    np.testing.assert_array_equal(v, residual)


@given(seeds, st.integers(1, 40), leaks | st.sampled_from([-(2**18), -1, 2**15 + 1, 2**18]), shifts, bit_counts)
def test_empf_gain(kernels, seed, n, lam, k, bits):
    v, current = membranes(seed, n)
    theta = seed % 2**22
    spikes, residual = golden.empf(v, current, lam, theta, k, bits)
    s = np.empty(n, np.uint8)
    kernels.esnn_empf_gain(p(v), p(current), p(s), n, lam, theta, k, bits)
    np.testing.assert_array_equal(s, spikes)
    np.testing.assert_array_equal(v, residual)


@given(seeds, st.integers(1, 40), st.integers(-(2**20), 2**20), shifts, bit_counts, st.booleans())
def test_parallel_empf(kernels, seed, n, theta, k, bits, small):
    rng = np.random.default_rng(seed)
    current = rng.integers(-(2**14), 2**14, n).astype(np.int32) if small else extreme(rng, np.int32, n)
    s = np.empty(n, np.uint8)
    kernels.esnn_parallel_empf(p(current), p(s), n, theta, k, bits)
    np.testing.assert_array_equal(s, golden.parallel_empf(current, theta, k, bits))


@given(seeds, st.integers(1, 40), leaks, st.integers(-(2**20), 2**24))
def test_lif(kernels, seed, n, lam, theta):
    v, current = membranes(seed, n)
    spikes, residual = golden.lif(v, current, lam, theta)
    s = np.empty(n, np.uint8)
    kernels.esnn_lif(p(v), p(current), p(s), n, lam, theta)
    np.testing.assert_array_equal(s, spikes)
    np.testing.assert_array_equal(v, residual)


def test_lif_fires_at_the_threshold_itself(kernels):
    v, current, s = np.zeros(3, np.int32), np.array([99, 100, 101], np.int32), np.empty(3, np.uint8)
    kernels.esnn_lif(p(v), p(current), p(s), 3, 2**15, 100)
    assert s.tolist() == [0, 1, 1]
    assert v.tolist() == [99, 0, 1]


@given(seeds, st.integers(1, 40), leaks)
def test_leaky_integrate(kernels, seed, n, leak):
    acc, current = membranes(seed, n)
    expected = golden.integrate(acc, current, leak)
    kernels.esnn_leaky_integrate(p(acc), p(current), n, leak)
    np.testing.assert_array_equal(acc, expected)


@given(seeds, st.integers(1, 40), leaks, st.integers(0, 2**20), st.integers(1, 2**23 - 1))
def test_trace(kernels, seed, n, leak, gain, limit):
    rng = np.random.default_rng(seed)
    trace, s = extreme(rng, np.int32, n, (0, limit)), extreme(rng, np.uint8, n)
    expected = golden.trace(trace, s, leak, gain, limit)
    kernels.esnn_trace(p(trace), p(s), n, leak, gain, limit)
    np.testing.assert_array_equal(trace, expected)


class Attention(ctypes.Structure):
    _fields_ = [("kernel", ctypes.c_void_p), ("table", ctypes.c_void_p)] + [(name, ctypes.c_uint32) for name in (
        "channels", "pixels", "kernel_size", "mean", "mean_shift", "shift")]  # fmt: skip


@given(seeds, st.integers(1, 9), st.integers(1, 40), st.sampled_from([1, 3, 5]), st.integers(1, 20), st.integers(0, 3))
def test_channel_attention(kernels, seed, channels, pixels, size, shift, place):
    """The result may be written over the current, over the context, and over both if they are one."""
    rng = np.random.default_rng(seed)
    limits = (-(2**30), 2**30) if seed % 2 else (-(2**14), 2**14)
    current, context = (extreme(rng, np.int32, (channels, pixels), limits) for _ in range(2))
    kernel = extreme(rng, np.int32, size, (-(2**12), 2**12))
    numbers = {"mean": 2**15 // pixels, "mean_shift": int(rng.integers(15, 20)), "shift": shift}  # a mean fits
    context = current if place == 3 else context
    expected = golden.channel_attention(current, context, kernel, SIGMOID_Q15, **numbers)
    y = [np.empty_like(current), current, context, current][place]
    constants = Attention(kernel.ctypes.data, SIGMOID_Q15.ctypes.data, channels, pixels, size, *numbers.values())
    means = np.empty(channels, np.int32)
    kernels.esnn_channel_attention(p(current), p(context), p(means), p(y), ctypes.byref(constants))
    np.testing.assert_array_equal(y, expected)


@given(seeds, st.integers(1, 9), st.integers(1, 40), st.sampled_from([1, 3, 5]), st.integers(1, 20), st.integers(1, 9))
def test_gradient_of_channel_attention(kernels, seed, channels, pixels, size, shift, out_shift):
    rng = np.random.default_rng(seed)
    g = extreme(rng, np.int32, (channels, pixels), (-(2**17), 2**17))
    current, context = (extreme(rng, np.int32, (channels, pixels), (-(2**24), 2**24)) for _ in range(2))
    kernel = extreme(rng, np.int32, size, (-(2**8), 2**8))
    numbers = {"mean": 2**15 // pixels, "mean_shift": int(rng.integers(15, 20)), "shift": shift}
    shifts = {"sum_shift": 28, "out_shift": 6 + out_shift}
    expected = golden_layers.attention_gradient(g, current, context, kernel, SIGMOID_Q15, **shifts, **numbers)
    constants = Attention(kernel.ctypes.data, SIGMOID_Q15.ctypes.data, channels, pixels, size, *numbers.values())
    scratch, to = np.empty(2 * channels, np.int32), np.empty_like(g)
    pointers = (p(array) for array in (g, current, context, scratch, to))
    kernels.esnn_attention_gradient(*pointers, ctypes.byref(constants), *shifts.values())
    np.testing.assert_array_equal(to, expected)


@given(seeds, st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 9))
def test_delay(kernels, seed, taps, dilation, more, channels):
    rng = np.random.default_rng(seed)
    depth = (taps - 1) * dilation + more
    past, at = np.zeros((depth, channels), np.uint8), np.zeros(1, np.int32)
    expected_past, expected_at = past.copy(), 0
    for x in rng.integers(0, 256, (3 * depth, channels)).astype(np.uint8):
        out = np.empty(taps * channels, np.uint8)
        expected, expected_past, expected_at = golden.delay(expected_past, x, expected_at, taps, dilation)
        kernels.esnn_delay(p(past), p(x), p(at), p(out), depth, channels, taps, dilation)
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(past, expected_past)
        assert at[0] == expected_at


@pytest.mark.parametrize("position", [7, -1, 2**31 - 1, -(2**31)])
def test_delay_stays_inside_its_slots_whatever_state_was_loaded(kernels, position):
    guarded, at = np.full(12, 9, np.uint8), np.array([position], np.int32)
    out, x = np.empty(3, np.uint8), np.ones(1, np.uint8)
    kernels.esnn_delay(ctypes.c_void_p(guarded.ctypes.data + 4), p(x), p(at), p(out), 4, 1, 3, 1)
    assert guarded[:4].tolist() == guarded[8:].tolist() == [9] * 4
    assert 0 <= at[0] < 4


@given(seeds, st.integers(1, 9), st.integers(1, 40), st.integers(1, 31), st.integers(1, 31), st.integers(0, 2**31 - 1))
def test_learn_readout(kernels, seed, classes, inputs, weight_shift, bias_shift, count):
    rng = np.random.default_rng(seed)
    weight = extreme(rng, np.int8, (classes, inputs), (-127, 127))
    bias = extreme(rng, np.int32, classes, golden.SAT24 if seed % 2 else (-3000, 3000))
    trace = extreme(rng, np.int32, inputs, (0, 2**18))
    multiplier = extreme(rng, np.int32, classes, (-(2**14), 2**20))
    shift, label = int(rng.integers(20, 33)), int(rng.integers(classes))
    options = {"shift": shift, "weight_shift": weight_shift, "bias_shift": bias_shift, "seed": seed}
    expected = golden.learn_readout(weight, bias, trace, multiplier, label, count, **options)
    readout = Readout(multiplier.ctypes.data, classes, inputs, shift, weight_shift, bias_shift, seed)
    scratch, counter = np.empty(classes, np.int32), np.array([count], np.int32)
    kernels.esnn_learn_readout(p(weight), p(bias), p(trace), label, p(counter), p(scratch), ctypes.byref(readout))
    np.testing.assert_array_equal(weight, expected[0])
    np.testing.assert_array_equal(bias, expected[1])
    assert counter[0] == expected[2]


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**31 - 1), st.integers(0, 2**20))
def test_random_numbers_are_a_function_of_seed_count_and_index(kernels, seed, count, index):
    assert kernels.esnn_random(kernels.esnn_random_key(seed, count), index) == golden.random(seed, count, index)


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_crc32_is_that_of_zlib_and_continues(kernels, head, tail):
    crc = kernels.esnn_crc32(0, head, ctypes.c_size_t(len(head)))
    assert crc == zlib.crc32(head)
    assert kernels.esnn_crc32(crc, tail, ctypes.c_size_t(len(tail))) == zlib.crc32(head + tail)
