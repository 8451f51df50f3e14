"""Learning in every layer once more, in NumPy int64: an independent yardstick for ONNX and C.

Shapes: one stream, no batch axis; C inputs, O outputs, K classes. Formulas: docs/learning-layers.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import golden
import numpy as np
from golden import int64
from numpy.typing import NDArray

Array = NDArray[Any]

U32 = 0xFFFFFFFF


def readout_error(weight: Array, bias: Array, trace: Array, multiplier: Array, label: int, shift: int) -> Array:
    return golden.softmax_error(golden.rescale(golden.linear(trace, weight), multiplier, bias, shift), label)


def backward(g: Array, w: Array) -> Array:
    """g [O], w [O, C] (signs for 1-bit weights) -> [C]."""
    return int64(g) @ int64(w)


def empf_gradient(g: Array, v: Array, theta: int | Array, k: int) -> Array:
    return np.where((int64(v) - theta + 2 ** (k - 1)) >> k == 0, int64(g), 0)


def triangle(g: Array, m: Array, theta: int | Array, width: int, shift: int) -> Array:
    return (int64(g) * np.maximum(width - abs(m - theta), 0) + 2 ** (shift - 1)) >> shift


def lif_gradient(g: Array, v: Array, s: Array, theta: int | Array, width: int, shift: int) -> Array:
    return triangle(g, int64(v) + theta * int64(s), theta, width, shift)


def key(seed: int, count: int) -> int:
    return int(golden.mix(int(golden.mix(seed)) ^ count))


def random(seed: int, count: int, outputs: int, inputs: int) -> Array:
    """[O, C]: a number of the row and one of the column, added up in 32 bits."""
    rows = golden.mix(key(seed, count) ^ np.arange(outputs))
    columns = golden.mix(key(seed, count) ^ (2**31 + np.arange(inputs)))
    return np.add.outer(rows, columns) & U32


def places(
    size: tuple[int, ...], windows: tuple[int, ...], kernel: tuple[int, ...], strides: Any, pads: Any,
    dilations: Any = (1, 1),
) -> Iterator[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:  # fmt: skip
    """Of every window (row, column) what it sees: place (i, j) and pixel (y, x), row by row; padding is left out."""
    for row, column, i, j in product(*map(range, (*windows, *kernel))):
        y, x = row * strides[0] - pads[0] + i * dilations[0], column * strides[1] - pads[1] + j * dilations[1]
        if 0 <= y < size[0] and 0 <= x < size[1]:
            yield (row, column), (i, j), (y, x)


def backward_conv(
    g: Array, w: Array, size: Any, strides: Any, pads: Any, dilations: Any = (1, 1), group: int = 1
) -> Array:
    """g [O, H', W'], w [O, C/G, kh, kw] (signs for 1-bit weights) -> [C, H, W]."""
    back = np.zeros((group, w.shape[1], *size), np.int64)
    for window, place, pixel in places(tuple(size), g.shape[1:], w.shape[2:], strides, pads, dilations):
        for n, (errors, weights) in enumerate(zip(np.split(int64(g), group), np.split(int64(w), group), strict=True)):
            back[n, :, *pixel] += errors[:, *window] @ weights[:, :, *place]
    return back.reshape(-1, *size)


def backward_maxpool(g: Array, x: Array, kernel: Any, strides: Any, pads: Any) -> Array:
    """g [C, H', W'], x [C, H, W] -> [C, H, W]: each to the first of the largest pixels."""
    back, best = np.zeros(x.shape, np.int64), {}
    for window, _, pixel in places(x.shape[1:], g.shape[1:], tuple(kernel), strides, pads):
        for c in range(len(x)):
            if (c, *window) not in best or x[c, *pixel] > x[c, *best[c, *window]]:
                best[c, *window] = pixel
    for (c, row, column), pixel in best.items():
        back[c, *pixel] += int(g[c, row, column])
    return back


def backward_sum_pool(g: Array, size: Any, kernel: Any, strides: Any, pads: Any) -> Array:
    """g [C, H', W'] -> [C, H, W]: each to all pixels of its window."""
    back = np.zeros((len(g), *size), np.int64)
    for window, _, pixel in places(tuple(size), g.shape[1:], tuple(kernel), strides, pads):
        back[:, *pixel] += int64(g)[:, *window]
    return back


def backward_upsample(g: Array, rows: Any, columns: Any, size: Any) -> Array:
    """g [C, H', W'] -> [C, H, W]: the errors of all places that a pixel went to."""
    back = np.zeros((len(g), *size), np.int64)
    for (i, row), (j, column) in product(enumerate(rows), enumerate(columns)):
        back[:, row, column] += g[:, i, j]
    return back


def attention_gradient(
    g: Array, current: Array, context: Array, kernel: Array, table: Array, *, sum_shift: int, out_shift: int,
    **numbers: int,
) -> Array:  # fmt: skip
    """g, current, context [C, ...] -> the gradient of the context, the same for all pixels of a channel."""
    score = golden.channel_score(context, kernel, table, **numbers)
    sums = (int64(g) * int64(current)).reshape(len(g), -1).sum(axis=1)
    slope = (score * (2**15 - score)) >> 15
    errors = (((sums + 2 ** (sum_shift - 1)) >> sum_shift) * slope + 2**12) >> 13
    u = np.convolve(np.pad(errors, len(kernel) // 2), int64(kernel), mode="valid")
    back = (u + 2 ** (out_shift - 1)) >> out_shift
    return np.broadcast_to(back.reshape(-1, *[1] * (g.ndim - 1)), g.shape)


def conv_step(
    x: Array, step: Array, kernel: Any, limit: int, strides: Any, pads: Any, dilations: Any = (1, 1), group: int = 1
) -> Array:
    """x [C, H, W], step [O, H', W'] -> the steps of all windows added up, [O, C/G*kh*kw]."""
    channels, outputs = len(x) // group, len(step) // group
    total = np.zeros((group, outputs, channels, *kernel), np.int64)
    q, seen = np.clip(int64(step), -limit, limit), int64(x)
    for window, place, pixel in places(x.shape[1:], step.shape[1:], tuple(kernel), strides, pads, dilations):
        steps, values = q[:, *window].reshape(group, outputs), seen[:, *pixel].reshape(group, channels)
        total[:, :, :, *place] += steps[:, :, None] * values[:, None]
    return total.reshape(len(step), -1)


def descend_conv(weight: Array, x: Array, step: Array, count: int, *, shift: int, seed: int, **geometry: Any) -> Array:
    """weight [O, C/G, kh, kw], x [C, H, W], step [O, H', W'] -> new weight; `geometry` as in `conv_step`."""
    total = conv_step(x, step, weight.shape[2:], **geometry)
    r = random(seed, count, *total.shape) >> (32 - shift)
    return np.clip(int64(weight) - ((total + r) >> shift).reshape(weight.shape), -127, 127)


def descend(weight: Array, x: Array, step: Array, count: int, *, limit: int, shift: int, seed: int) -> Array:
    """weight [O, C], x [C], step [O] -> new weight."""
    steps = np.outer(np.clip(int64(step), -limit, limit), int64(x))
    r = random(seed, count, *weight.shape) >> (32 - shift)
    return np.clip(int64(weight) - ((steps + r) >> shift), -127, 127)


def parallel_empf_gradient(g: Array, current: Array, theta: int | Array, k: int, bits: int) -> Array:
    level = (np.clip(int64(current), *golden.SAT24) - theta + 2 ** (k - 1)) >> k
    return np.where((level >= 0) & (level < 2**bits), int64(g), 0)


def learn_threshold(theta: Array, g: Array, multiplier: int, count: int, limit: int, shift: int, seed: int) -> Array:
    """theta [1] of all neurons, or [C] by channel, g [C, ...]."""
    moved = []
    for c, (old, errors) in enumerate(zip(theta.tolist(), g.reshape(len(theta), -1), strict=True)):
        q = (int(np.clip(int64(errors).sum(), -limit, limit)) * multiplier + 2 ** (shift - 1)) >> shift
        random = int(golden.mix(key(seed, count) ^ c))
        moved.append(min(max(old + ((q + (random >> 16)) >> 16), 0), 2**23 - 1))
    return np.array(moved)


def learn_bias(bias: Array, e: Array, count: int, shift: int, seed: int) -> tuple[Array, int]:
    r = golden.mix(key(seed, count) ^ np.arange(len(bias))) >> (32 - shift)
    return np.clip(bias - ((int64(e) * 2**15 + r) >> shift), *golden.SAT24), (count + 1) & 0x7FFFFFFF


def ends(rng: np.random.Generator, low: int, high: int, shape: Any, dtype: Any = np.int32) -> Array:
    """Random values: a third at the ends of their range, a third zero."""
    kind = rng.integers(0, 3, shape)
    return np.choose(kind, [rng.choice([low, high], shape), np.zeros(shape, np.int64),
                            rng.integers(low, high, shape, np.int64, endpoint=True)]).astype(dtype)  # fmt: skip
