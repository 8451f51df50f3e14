"""Inputs for kernels called through ctypes: extreme values, and strategies for constants."""

from __future__ import annotations

import ctypes

import golden
import numpy as np
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)
shifts = st.integers(1, 12)
bit_counts = st.sampled_from([1, 2, 4, 8])
leaks = st.one_of(st.sampled_from([0, 1, 2**14, 2**15 - 1, 2**15]), st.integers(0, 2**15))
input_types = st.sampled_from([np.uint8, np.int8])


class Window(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in (
        "channels", "height", "width", "out_channels", "out_height", "out_width", "kernel_height", "kernel_width",
        "stride_height", "stride_width", "padding_top", "padding_left")]  # fmt: skip


class GroupedWindow(ctypes.Structure):
    _fields_ = [("window", Window)] + [(name, ctypes.c_uint32) for name in (
        "dilation_height", "dilation_width", "groups")]  # fmt: skip


def p(array):
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def extreme(rng, dtype, shape, limits=None):
    """Half of the values at the ends of their range."""
    low, high = limits or (np.iinfo(dtype).min, np.iinfo(dtype).max)
    values = rng.integers(low, high, shape, np.int64, endpoint=True)
    ends = rng.choice([low, high], shape)
    return np.where(rng.random(shape) < 0.5, values, ends).astype(dtype)


def signs(rng, shape):
    return rng.choice(np.array([-1, 1], np.int8), shape)


def membranes(seed, n):
    rng = np.random.default_rng(seed)
    return extreme(rng, np.int32, n, golden.SAT24), extreme(rng, np.int32, n)


class Descent(ctypes.Structure):
    """`esnn_descent`."""

    _fields_ = [
        ("inputs", ctypes.c_uint32), ("outputs", ctypes.c_uint32), ("limit", ctypes.c_int32),
        ("shift", ctypes.c_uint32), ("seed", ctypes.c_uint32),
    ]  # fmt: skip


@st.composite
def geometries(draw):
    """(C, O, (H, W), kernel, strides, pads): every window holds a pixel; rows and columns differ."""
    channels, outputs = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    kernel, strides = (tuple(draw(st.integers(1, 3)) for _ in range(2)) for _ in range(2))
    size = tuple(draw(st.integers(side, 7)) for side in kernel)
    pads = [draw(st.integers(0, kernel[i % 2] - 1)) for i in range(4)]
    return channels, outputs, size, kernel, strides, pads


@st.composite
def grouped_geometries(draw):
    """(C, O, (H, W), kernel, attributes): those of `geometries`, in groups and with places apart."""
    channels, outputs, _, kernel, strides, _ = draw(geometries())
    group, dilations = draw(st.integers(1, 3)), tuple(draw(st.integers(1, 3)) for _ in range(2))
    span = [(side - 1) * gap + 1 for side, gap in zip(kernel, dilations, strict=True)]
    size = tuple(draw(st.integers(1, 8)) for _ in range(2))
    least = [max(side - n, 0) for side, n in zip(span, size, strict=True)]
    pads = [least[i % 2] if i < 2 else draw(st.integers(0, kernel[i % 2] - 1)) for i in range(4)]
    attributes = {"strides": strides, "pads": pads, "dilations": dilations, "group": group}
    return channels * group, outputs * group, size, kernel, attributes


def places_of(size, kernel, strides, pads, dilations=(1, 1)):
    """H', W': how many windows there are."""
    sides = zip(size, kernel, strides, pads[:2], pads[2:], dilations, strict=True)
    return tuple((n + before + after - (side - 1) * gap - 1) // stride + 1
                 for n, side, stride, before, after, gap in sides)  # fmt: skip
