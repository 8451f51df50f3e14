"""The integer arithmetic once more, in NumPy int64: an independent yardstick for every backend.

Shapes: single stream, no batch axis. C inputs, O outputs, K classes, H x W pixels. Formulas: docs/architecture.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SAT24 = (-(2**23), 2**23 - 1)


def int64(value: Any) -> Array:
    return np.asarray(value, np.int64)


def pack_signs(weights: Array) -> Array:
    """+1/-1 [O, ...] -> uint8 [O, ceil(fan_in / 8)], lowest bit first."""
    return np.packbits(weights.reshape(len(weights), -1) > 0, axis=1, bitorder="little")


def linear(x: Array, w: Array) -> Array:
    """x [C], w [O, C] -> [O]; signs for binary weights."""
    return int64(w) @ int64(x)


def conv2d(
    x: Array, w: Array, strides: tuple[int, int], pads: tuple[int, int, int, int],
    dilations: tuple[int, int] = (1, 1), groups: int = 1,
) -> Array:  # fmt: skip
    """x [C, H, W], w [O, C/groups, kh, kw] -> [O, H', W']; pads top, left, bottom, right."""
    top, left, bottom, right = pads
    padded = np.pad(int64(x), ((0, 0), (top, bottom), (left, right)))
    spread = np.zeros((*w.shape[:2], *((side - 1) * d + 1 for side, d in zip(w.shape[2:], dilations, strict=True))))
    spread[:, :, :: dilations[0], :: dilations[1]] = w
    windows = np.lib.stride_tricks.sliding_window_view(padded, spread.shape[2:], axis=(1, 2))
    picked = windows[:, :: strides[0], :: strides[1]]
    parts = zip(np.split(picked, groups), np.split(int64(spread), groups), strict=True)
    return np.concatenate([np.einsum("chwij,ocij->ohw", part, of_group) for part, of_group in parts])


def pack_fields(weights: Array, bits: int) -> Array:
    """[O, ...] of 2 or 4 bits -> uint8 [O, ceil(fan_in*bits / 8)], two's complement, lowest bits first."""
    rows = weights.reshape(len(weights), -1)
    of_weights = np.unpackbits(rows.astype(np.uint8)[..., None], axis=2, bitorder="little")[..., :bits]
    return np.packbits(of_weights.reshape(len(rows), -1), axis=1, bitorder="little")


def _pooled(x: Array, kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, ...]) -> Array:
    """The windows [C, H', W', kh, kw] of x [C, H, W] with zeros around."""
    top, left, bottom, right = pads
    padded = np.pad(int64(x), ((0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(1, 2))
    return windows[:, :: strides[0], :: strides[1]]


def maxpool2d(
    x: Array, kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, ...] = (0, 0, 0, 0)
) -> Array:
    return _pooled(x, kernel, strides, pads).max(axis=(3, 4))


def padded_maxpool2d(x: Array, kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, ...]) -> Array:
    """Of the pixels inside the image: as if -128, the least, were around it."""
    return maxpool2d(int64(x) + 128, kernel, strides, pads) - 128


def sum_pool2d(x: Array, kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, ...]) -> Array:
    return _pooled(x, kernel, strides, pads).sum(axis=(3, 4))


def average_pool2d(
    x: Array, kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, ...], multiplier: int, shift: int
) -> Array:
    product = sum_pool2d(x, kernel, strides, pads) * multiplier
    return np.clip((product + (2**shift // 2)) >> shift, 0, 255)


def rescale(a: Array, multiplier: Array, bias: Array, shift: int) -> Array:
    """a [O, ...], multiplier and bias [O]."""
    column = (-1,) + (1,) * (a.ndim - 1)
    product = int64(a) * int64(multiplier).reshape(column)
    return ((product + (1 << (shift - 1))) >> shift) + int64(bias).reshape(column)


def requantize(a: Array, multiplier: Array, bias: Array, shift: int, bits: int, signed: bool) -> Array:
    low = -(2 ** (bits - 1)) if signed else 0
    return np.clip(rescale(a, multiplier, bias, shift), low, low + 2**bits - 1)


def leak(v: Array, factor: int | Array) -> Array:
    return (int64(factor) * int64(v) + 2**14) >> 15


def integrate(v: Array, current: Array, lam: int | Array) -> Array:
    return np.clip(leak(v, lam) + int64(current), *SAT24)


def grade(m: Array, theta: int | Array, k: int, bits: int) -> Array:
    return np.clip((m - theta + 2 ** (k - 1)) >> k, 0, 2**bits - 1)


def empf(v: Array, current: Array, lam: int | Array, theta: int | Array, k: int, bits: int) -> tuple[Array, Array]:
    """-> spikes, new membrane."""
    m = integrate(v, current, lam)
    s = grade(m, theta, k, bits)
    return s, m - (s << k)


def parallel_empf(current: Array, theta: int | Array, k: int, bits: int) -> Array:
    return grade(np.clip(int64(current), *SAT24), theta, k, bits)


def lif(v: Array, current: Array, lam: int | Array, theta: int | Array) -> tuple[Array, Array]:
    m = integrate(v, current, lam)
    s = int64(m >= theta)
    return s, m - theta * s


def lif_drop(v: Array, current: Array, lam: int | Array, theta: int | Array, drop: int) -> tuple[Array, Array]:
    m = integrate(v, current, lam)
    s = int64(m >= theta)
    return s, m - drop * s


def lif_clear(v: Array, current: Array, lam: int | Array, theta: int | Array) -> tuple[Array, Array]:
    m = integrate(v, current, lam)
    s = int64(m >= theta)
    return s, np.where(s > 0, 0, m)


def channel_attention(
    current: Array, context: Array, kernel: Array, table: Array, *, mean: int, mean_shift: int, shift: int
) -> Array:
    """current, context [C, ...], kernel [k], table [256] -> [C, ...]."""
    score = channel_score(context, kernel, table, mean=mean, mean_shift=mean_shift, shift=shift)
    return (int64(current) * score.reshape(-1, *[1] * (current.ndim - 1)) + 2**14) >> 15


def channel_score(context: Array, kernel: Array, table: Array, *, mean: int, mean_shift: int, shift: int) -> Array:
    """context [C, ...] -> [C]."""
    means = (int64(context).reshape(len(context), -1).sum(axis=1) * mean + 2 ** (mean_shift - 1)) >> mean_shift
    u = np.convolve(np.pad(means, len(kernel) // 2), int64(kernel)[::-1], mode="valid")
    place = np.clip((u + 2 ** (shift - 1)) >> shift, -(2**15), 2**15 - 1) + 2**15
    low, high = int64(table)[place >> 8], int64(table)[np.minimum((place >> 8) + 1, 255)]
    return low + (((place & 255) * (high - low) + 128) >> 8)


def delay(past: Array, x: Array, position: int, taps: int, dilation: int) -> tuple[Array, Array, int]:
    """past [D, C], x [C] -> the taps [taps * C], oldest first, the past and the position after."""
    stored, depth = past.copy(), len(past)
    stored[position] = x
    ages = dilation * np.arange(taps)[::-1]
    return stored[(position - ages) % depth].reshape(-1), stored, (position + 1) % depth


def trace(value: Array, s: Array, factor: int, gain: int, limit: int) -> Array:
    return np.clip(leak(value, factor) + int64(s) * gain, 0, limit)


def mix(x: Array | int) -> Array:
    """lowbias32 on uint32 values held in int64."""
    x = np.asarray(x, np.uint64)
    x ^= x >> np.uint64(16)
    x = x * np.uint64(0x7FEB352D) & np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(15)
    x = x * np.uint64(0x846CA68B) & np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(16)
    return int64(x)


def random(seed: int, count: int, index: Array) -> Array:
    key = mix(mix(seed) ^ count)
    return mix(key ^ int64(index))


def softmax_error(z: Array, label: int) -> Array:
    table = np.round(2**15 * np.exp(-np.arange(256) / 16)).astype(np.int64)
    e = table[np.minimum((z.max() - z) >> 6, 255)]
    p = (e << 15) // e.sum()
    p[label] -= 2**15
    return p


def learn_readout(
    weight: Array, bias: Array, trace: Array, multiplier: Array, label: int, count: int,
    *, shift: int, weight_shift: int, bias_shift: int, seed: int,
) -> tuple[Array, Array, int]:  # fmt: skip
    """weight [K, C], bias [K], trace [C] -> new weight, bias, count."""
    classes, inputs = weight.shape
    e = softmax_error(rescale(linear(trace, weight), multiplier, bias, shift), label)
    r = random(seed, count, np.arange(classes * inputs + classes))
    noise = r[: classes * inputs].reshape(classes, inputs) >> (32 - weight_shift)
    new_weight = weight - ((np.outer(e, int64(trace)) + noise) >> weight_shift)
    new_bias = bias - ((e * 2**15 + (r[classes * inputs :] >> (32 - bias_shift))) >> bias_shift)
    return np.clip(new_weight, -127, 127), np.clip(new_bias, *SAT24), (count + 1) & 0x7FFFFFFF
