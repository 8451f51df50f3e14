"""Learning in every layer once more, in NumPy int64: an independent yardstick for ONNX and C.

Shapes: one stream, no batch axis; C inputs, O outputs, K classes. Formulas: docs/learning-layers.md.
"""

from __future__ import annotations

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


def empf_gradient(g: Array, v: Array, theta: int, k: int) -> Array:
    return np.where((int64(v) - theta + 2 ** (k - 1)) >> k == 0, int64(g), 0)


def lif_gradient(g: Array, v: Array, s: Array, theta: int, width: int, shift: int) -> Array:
    m = int64(v) + theta * int64(s)
    return (int64(g) * np.maximum(width - abs(m - theta), 0) + 2 ** (shift - 1)) >> shift


def key(seed: int, count: int) -> int:
    return int(golden.mix(int(golden.mix(seed)) ^ count))


def random(seed: int, count: int, outputs: int, inputs: int) -> Array:
    """[O, C]: a number of the row and one of the column, added up in 32 bits."""
    rows = golden.mix(key(seed, count) ^ np.arange(outputs))
    columns = golden.mix(key(seed, count) ^ (2**31 + np.arange(inputs)))
    return np.add.outer(rows, columns) & U32


def descend(weight: Array, x: Array, step: Array, count: int, *, limit: int, shift: int, seed: int) -> Array:
    """weight [O, C], x [C], step [O] -> new weight."""
    product = np.outer(np.clip(int64(step), -limit, limit), int64(x))
    r = random(seed, count, *weight.shape) >> (32 - shift)
    return np.clip(int64(weight) - ((product + r) >> shift), -127, 127)


def learn_threshold(theta: int, g: Array, multiplier: int, count: int, shift: int, seed: int) -> int:
    q = (int(int64(g).sum()) * multiplier + 2 ** (shift - 1)) >> shift
    return int(np.clip(theta + ((q + (int(golden.mix(key(seed, count))) >> 16)) >> 16), 0, 2**23 - 1))


def learn_bias(bias: Array, e: Array, count: int, shift: int, seed: int) -> tuple[Array, int]:
    r = golden.mix(key(seed, count) ^ np.arange(len(bias))) >> (32 - shift)
    return np.clip(bias - ((int64(e) * 2**15 + r) >> shift), *golden.SAT24), (count + 1) & 0x7FFFFFFF


def ends(rng: np.random.Generator, low: int, high: int, shape: Any, dtype: Any = np.int32) -> Array:
    """Random values: a third at the ends of their range, a third zero."""
    kind = rng.integers(0, 3, shape)
    return np.choose(kind, [rng.choice([low, high], shape), np.zeros(shape, np.int64),
                            rng.integers(low, high, shape, np.int64, endpoint=True)]).astype(dtype)  # fmt: skip
