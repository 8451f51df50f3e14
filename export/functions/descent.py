"""Gradient descent on integer weights and thresholds, at once, with counter-based stochastic rounding.

Shapes: C inputs and O outputs of a layer, one stream. The equations are in
docs/learning-layers.md. Random numbers of a matrix are sums of one number a row and one a column, modulo 2^32: each is
uniform, and any two are independent, so that errors of rounding add up as if all were; and O + C numbers are drawn
instead of O*C.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnxscript import script

from edgesnn.export.functions.domain import DOUBLE, FLOAT, INT8, INT32, INT64, TWO, UINT8, edgesnn_domain, op
from edgesnn.export.functions.learning import Mix, StochasticShift

#: Value of each bit of a byte, lowest first.
_BITS = onnx.numpy_helper.from_array(2.0 ** np.arange(8, dtype=np.float32)[:, None], "bits")


@script(edgesnn_domain, default_opset=op)
def LearningKey(count, seed: int):
    """key = mix(mix(seed) ^ count): what random numbers of a learning step depend on; count s32 [1] -> s64 [1]."""
    return Mix(op.BitwiseXor(Mix(op.Constant(value_int=seed)), op.Cast(count, to=INT64)))


@script(edgesnn_domain, default_opset=op)
def PairwiseRandom(weight, key):
    """r[o, i] = (mix(key ^ o) + mix(key ^ (2^31 + i))) mod 2^32 for weight [O, C]; key s64 [1] -> s64 [O, C]."""
    rows = op.Squeeze(op.Shape(weight, start=0, end=1))
    columns = op.Squeeze(op.Shape(weight, start=1, end=2))
    row = Mix(op.BitwiseXor(key, op.Range(0, rows, 1)))
    column = Mix(op.BitwiseXor(key, op.Range(0, columns, 1) + 2147483648))
    return op.BitwiseAnd(op.Unsqueeze(row, [1]) + op.Unsqueeze(column, [0]), 0xFFFFFFFF)


@script(edgesnn_domain, default_opset=op)
def Move(weight, step, count, shift: int, seed: int):
    """clamp(w - ((step + (r >> (32 - shift))) >> shift), -127, 127) in float64; weight s8, step f64 [O, C]."""
    random = PairwiseRandom(weight, LearningKey(count, seed=seed))
    return op.Clip(op.Cast(weight, to=DOUBLE) - StochasticShift(step, random, shift=shift), -127.0, 127.0)


@script(edgesnn_domain, default_opset=op)
def Descend(weight, x, step, count, limit: int, shift: int, seed: int):
    """clamp(w - ((q[o]*x[i] + (r[o, i] >> (32 - shift))) >> shift), -127, 127), q = clamp(step, -limit, limit).

    In float64; weight s8 [O, C], x u8/s8/s32 [1, C], step s32 [1, O], count s32 [1]; limit*max|x| + 2^shift <= 2^31.
    """
    most = op.Constant(value_int=limit)
    q = op.Transpose(op.Clip(op.Cast(step, to=INT64), -most, most), perm=[1, 0])
    product = op.Cast(q, to=DOUBLE) * op.Cast(x, to=DOUBLE)
    return Move(weight, product, count, shift=shift, seed=seed)


@script(edgesnn_domain, default_opset=op)
def LearnLinear(weight, x, step, count, limit: int, shift: int, seed: int):
    """One step of descent on int8 weights: `Descend`; weight s8 [O, C] -> s8 [O, C]."""
    return op.Cast(Descend(weight, x, step, count, limit=limit, shift=shift, seed=seed), to=INT8)


@script(edgesnn_domain, default_opset=op)
def PackSigns(weight, pads: Sequence[int]):
    """Signs (0 counts as +) of f64 [O, C] as packed u8 [O, ceil(C / 8)]; `pads` [0, 0, 0, n] fills the last byte up."""
    sign = op.Cast(op.GreaterOrEqual(weight, op.Cast(0, to=DOUBLE)), to=FLOAT)
    padded = op.Pad(sign, op.Constant(value_ints=pads))
    bytes_of_bits = op.Reshape(padded, op.Constant(value_ints=[0, -1, 8]))
    return op.Cast(op.Squeeze(op.MatMul(bytes_of_bits, op.Constant(value=_BITS)), [2]), to=UINT8)


@script(edgesnn_domain, default_opset=op)
def LearnBinaryLinear(weight, latent, x, step, count, limit: int, shift: int, seed: int, pads: Sequence[int]):
    """One step of descent on the int8 latents of 1-bit weights, whose signs (0 counts as +) are the weights.

    weight packed u8 [O, ceil(C / 8)], latent s8 [O, C] -> weight', latent'; `pads` as in `PackSigns`.
    """
    moved = Descend(latent, x, step, count, limit=limit, shift=shift, seed=seed)
    return PackSigns(moved, pads=pads), op.Cast(moved, to=INT8)


@script(edgesnn_domain, default_opset=op)
def LearnThreshold(theta, g, M, count, limit: int, shift: int, seed: int):
    """clamp(theta[c] + ((q[c] + (r[c] >> 16)) >> 16), 0, 2^23 - 1), q[c] = (M*G[c] + 2^(shift-1)) >> shift,
    r[c] = mix(key ^ c), G[c] = clamp(sum of the g of its neurons, -limit, limit).

    A membrane rises where its threshold falls: the gradient is -sum(g). theta s32 [1] of all neurons (c = 0), or one a
    channel, [C] or [C, 1, 1]; M, count s32 [1]; g s32 [1, C, ...].
    """
    most = op.Cast(op.Constant(value_int=limit), to=DOUBLE)
    rows = op.Concat(op.Reshape(op.Size(theta), [1]), op.Constant(value_ints=[-1]), axis=0)
    by_number = op.Reshape(op.Cast(g, to=DOUBLE), rows)
    total = op.Clip(op.ReduceSum(by_number, op.Constant(value_ints=[1]), keepdims=0), -most, most)
    unit = op.Pow(op.Constant(value=TWO), op.Constant(value_int=shift))
    q = op.Floor(total * op.Cast(M, to=DOUBLE) / unit + 0.5)
    random = Mix(op.BitwiseXor(LearningKey(count, seed=seed), op.Range(0, op.Size(theta), 1)))
    step = op.Reshape(StochasticShift(q, random, shift=16), op.Shape(theta))
    return op.Cast(op.Clip(op.Cast(theta, to=DOUBLE) + step, 0.0, 8388607.0), to=INT32)


@script(edgesnn_domain, default_opset=op)
def LearnThresholdAt(theta, at, g, M, count, limit: int, shift: int, seed: int):
    """`LearnThreshold` of the row that the step has read of a table theta s32 [T, ...]; at s32 [1]."""
    moved = LearnThreshold(op.Gather(theta, at, axis=0), g, M, count, limit=limit, shift=shift, seed=seed)
    return op.ScatterND(theta, op.Unsqueeze(op.Cast(at, to=INT64), [1]), moved)


@script(edgesnn_domain, default_opset=op)
def LearnBias(bias, e, count, shift: int, seed: int):
    """clamp(bias - ((e*2^15 + (r[k] >> (32 - shift))) >> shift), -2^23, 2^23 - 1), r[k] = mix(key ^ k); ends the step.

    bias s32 [K], e s32 [1, K], count s32 [1] -> bias', count' = (count + 1) mod 2^31.
    """
    random = Mix(op.BitwiseXor(LearningKey(count, seed=seed), op.Range(0, op.Size(bias), 1)))
    step = StochasticShift(op.Cast(op.Squeeze(e, [0]), to=DOUBLE) * 32768.0, random, shift=shift)
    new_bias = op.Clip(op.Cast(bias, to=DOUBLE) - step, -8388608.0, 8388607.0)
    new_count = op.BitwiseAnd(op.Cast(count, to=INT64) + 1, 0x7FFFFFFF)
    return op.Cast(new_bias, to=INT32), op.Cast(new_count, to=INT32)
