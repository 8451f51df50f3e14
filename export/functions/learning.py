"""Learning in integers: cross-entropy by table, an outer product, and counter-based stochastic rounding.

Shapes: K classes, C inputs of the readout. The equations are in docs/architecture.md ("Learning").
"""

from __future__ import annotations

import numpy as np
import onnx
from onnxscript import script

from edgesnn.export.functions.domain import DOUBLE, INT8, INT32, INT64, TWO, edgesnn_domain, op
from edgesnn.export.functions.rescale import Rescale

#: round(2^15 * exp(-d/16)): sixteen entries a nat, zero beyond sixteen nats.
EXP_Q15 = np.round(2.0**15 * np.exp(-np.arange(256) / 16.0)).astype(np.int64)
_TABLE = onnx.numpy_helper.from_array(EXP_Q15, "exp_q15")


@script(edgesnn_domain, default_opset=op)
def Mix(x):
    """lowbias32 (C. Wellons, hash-prospector): a bijection of uint32 in which each bit moves every other; x s64.

    The second multiplier is written modulo 2^32 as a negative number, so that no product leaves int64.
    """
    a = op.BitwiseXor(x, x / 65536)
    b = op.BitwiseAnd(a * 0x7FEB352D, 0xFFFFFFFF)
    c = op.BitwiseXor(b, b / 32768)
    d = op.BitwiseAnd(c * (-2073254261), 0xFFFFFFFF)
    return op.BitwiseXor(d, d / 65536)


@script(edgesnn_domain, default_opset=op)
def StochasticShift(x, random, shift: int):
    """(x + u) >> n in float64, where u is the top n bits of a 32-bit random number: floor with expectation x / 2^n."""
    unit = op.Pow(op.Constant(value=TWO), op.Constant(value_int=shift))
    fraction = op.Floor(op.Cast(random, to=DOUBLE) * unit / 4294967296.0)
    return op.Floor((x + fraction) / unit)


@script(edgesnn_domain, default_opset=op)
def SoftmaxError(z, label):
    """e[c] = p[c] - 2^15*[c == label], p the softmax of z (2^-10 nat) in Q15, floored; z s32 [1, K] -> s64 [1, K]."""
    distance = op.Cast(op.ReduceMax(z, keepdims=1) - z, to=INT64)
    weight = op.Gather(op.Constant(value=_TABLE), op.Clip(distance / 64, 0, 255))
    p = weight * 32768 / op.ReduceSum(weight, keepdims=1)
    classes = op.Range(0, op.Squeeze(op.Shape(z, start=1)), 1)
    target = op.Cast(op.Equal(classes, op.Cast(label, to=INT64)), to=INT64) * 32768
    return p - target


@script(edgesnn_domain, default_opset=op)
def LearnReadout(weight, bias, trace, M, label, count, shift: int, weight_shift: int, bias_shift: int, seed: int):
    """One step of stochastic gradient descent on the readout, from the running mean of its input spikes.

    weight s8 [K, C], bias s32 [K], trace s32 [1, C], M s32 [K], label and count s32 [1] -> weight', bias', count'.
    """
    a = op.MatMul(op.Cast(trace, to=DOUBLE), op.Cast(op.Transpose(weight, perm=[1, 0]), to=DOUBLE))
    z = Rescale(op.Cast(a, to=INT32), M, bias, shift=shift)
    e = SoftmaxError(z, label)

    size = op.Size(weight)
    key = Mix(op.BitwiseXor(Mix(op.Constant(value_int=seed)), op.Cast(count, to=INT64)))
    weight_random = op.Reshape(Mix(op.BitwiseXor(key, op.Range(0, size, 1))), op.Shape(weight))
    bias_random = Mix(op.BitwiseXor(key, op.Range(size, size + op.Size(bias), 1)))

    gradient = op.Cast(op.Transpose(e, perm=[1, 0]), to=DOUBLE) * op.Cast(trace, to=DOUBLE)
    step = StochasticShift(gradient, weight_random, shift=weight_shift)
    new_weight = op.Clip(op.Cast(weight, to=DOUBLE) - step, -127.0, 127.0)

    bias_gradient = op.Cast(op.Squeeze(e, [0]) * 32768, to=DOUBLE)
    bias_step = StochasticShift(bias_gradient, bias_random, shift=bias_shift)
    new_bias = op.Clip(op.Cast(bias, to=DOUBLE) - bias_step, -8388608.0, 8388607.0)

    new_count = op.BitwiseAnd(op.Cast(count, to=INT64) + 1, 0x7FFFFFFF)
    return op.Cast(new_weight, to=INT8), op.Cast(new_bias, to=INT32), op.Cast(new_count, to=INT32)
