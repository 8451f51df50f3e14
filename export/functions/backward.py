"""Spatial backward in integers (SLTT eq. 12-13): the error at the readout, through weights and neurons of one step.

Shapes: K classes, C inputs and O outputs of a layer, one stream. g is the gradient of the loss with respect to spikes
or membranes, s32 in a unit of the exporter's choice. theta s32 [1], or one a channel: [C] or [C, 1, 1]. The equations
are in docs/learning-layers.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnxscript import script

from edgesnn.export.functions.domain import DOUBLE, INT32, TWO, edgesnn_domain, op
from edgesnn.export.functions.learning import SoftmaxError
from edgesnn.export.functions.neuron import Integrate
from edgesnn.export.functions.rescale import Rescale
from edgesnn.export.functions.synapse import UnpackSigns


@script(edgesnn_domain, default_opset=op)
def Retain(kept, value):
    """kept' = value: what learning needs of a step is kept as a state; both u8, s8 or s32 [N, ...]."""
    return op.Identity(value)


@script(edgesnn_domain, default_opset=op)
def ReadoutError(weight, bias, trace, M, label, shift: int):
    """e = softmax(Rescale(weight trace) + bias) - onehot(label), Q15: the loss of the running mean of the spikes.

    weight s8 [K, C], bias s32 [K], trace s32 [1, C], M s32 [K], label s32 [1] -> s32 [1, K].
    """
    a = op.MatMul(op.Cast(trace, to=DOUBLE), op.Cast(op.Transpose(weight, perm=[1, 0]), to=DOUBLE))
    return op.Cast(SoftmaxError(Rescale(op.Cast(a, to=INT32), M, bias, shift=shift), label), to=INT32)


@script(edgesnn_domain, default_opset=op)
def BackwardLinear(g, w):
    """g_s[i] = sum_o w[o, i]*g[o]; g s32 [1, O], w s8 [O, C] -> s32 [1, C], exact below 2^31."""
    return op.Cast(op.MatMul(op.Cast(g, to=DOUBLE), op.Cast(w, to=DOUBLE)), to=INT32)


@script(edgesnn_domain, default_opset=op)
def BackwardBinaryLinear(g, w, fan_in: int):
    """g_s[i] = sum_o (+-1)[o, i]*g[o]; g s32 [1, O], w packed u8 [O, ceil(fan_in / 8)] -> s32 [1, fan_in]."""
    return BackwardLinear(g, UnpackSigns(w, fan_in=fan_in))


@script(edgesnn_domain, default_opset=op)
def BackwardDelay(g, taps: int):
    """The gradient of the newest of `taps` values: what is older is of other time steps; s32 [1, K*C] -> [1, C]."""
    count = op.Reshape(op.Constant(value_int=taps), [1])
    by_tap = op.Reshape(g, op.Concat(count, op.Constant(value_ints=[-1]), axis=0))
    return op.Gather(by_tap, count - 1, axis=0)


@script(edgesnn_domain, default_opset=op)
def BackwardUpsample2d(g, rows: Sequence[int], columns: Sequence[int], size: Sequence[int]):
    """The errors of all places where a pixel went, added up; g s32 [1, C, H', W'] -> s32 [1, C, *size].

    Place (i, j) got pixel (rows[i], columns[j]).
    """
    sides = op.Constant(value_ints=size)
    from_row = op.Equal(op.Unsqueeze(op.Range(0, op.Gather(sides, 0), 1), [1]), op.Constant(value_ints=rows))
    from_column = op.Equal(op.Unsqueeze(op.Constant(value_ints=columns), [1]), op.Range(0, op.Gather(sides, 1), 1))
    by_row = op.MatMul(op.Cast(from_row, to=DOUBLE), op.Cast(g, to=DOUBLE))
    return op.Cast(op.MatMul(by_row, op.Cast(from_column, to=DOUBLE)), to=INT32)


@script(edgesnn_domain, default_opset=op)
def ClampGradient(g, y, low: int, high: int):
    """g where low < y < high, else 0: the straight-through gradient of a value that was clamped to bits.

    g s32 [1, C, ...], y u8/s8 like g; -129 <= low < high <= 256.
    """
    value = op.Cast(y, to=INT32)
    above = op.Greater(value, op.Cast(op.Constant(value_int=low), to=INT32))
    below = op.Less(value, op.Cast(op.Constant(value_int=high), to=INT32))
    return g * op.Cast(op.And(above, below), to=INT32)


@script(edgesnn_domain, default_opset=op)
def EMPFGradient(g, v, theta, k: int):
    """g where the spike was not clipped, else 0: the straight-through gradient of EM-PF.

    A spike s = (m - theta + 2^(k-1)) >> k that was not clipped leaves v' = m - (s << k) with
    -2^(k-1) <= v' - theta < 2^(k-1). g, v (v', the membrane after the step) s32 [1, C, ...].
    """
    half = op.Pow(op.Constant(value=TWO), op.Constant(value_int=k)) / 2.0
    distance = op.Cast(v, to=DOUBLE) - op.Cast(theta, to=DOUBLE)
    inside = op.And(op.GreaterOrEqual(distance, -half), op.Less(distance, half))
    return op.Cast(op.Cast(g, to=DOUBLE) * op.Cast(inside, to=DOUBLE), to=INT32)


@script(edgesnn_domain, default_opset=op)
def ParallelEMPFGradient(g, current, theta, k: int, bits: int):
    """g where the spike of neurons without a membrane was not clipped, else 0: as `EMPFGradient`, of m = sat24(I).

    g, current (I) s32 [1, C, ...].
    """
    two = op.Constant(value=TWO)
    half = op.Pow(two, op.Constant(value_int=k)) / 2.0
    top = op.Pow(two, op.Constant(value_int=k) + op.Constant(value_int=bits)) - half
    distance = op.Clip(op.Cast(current, to=DOUBLE), -8388608.0, 8388607.0) - op.Cast(theta, to=DOUBLE)
    inside = op.And(op.GreaterOrEqual(distance, -half), op.Less(distance, top))
    return op.Cast(op.Cast(g, to=DOUBLE) * op.Cast(inside, to=DOUBLE), to=INT32)


@script(edgesnn_domain, default_opset=op)
def Triangle(g, m, theta, width: int, shift: int):
    """(g*D + 2^(shift-1)) >> shift, D = max(0, width - |m - theta|): SLTT's triangle (eq. 6); m float64 like g.

    2^shift >= width.
    """
    distance = op.Abs(m - op.Cast(theta, to=DOUBLE))
    slope = op.Clip(op.Cast(op.Constant(value_int=width), to=DOUBLE) - distance, 0.0)
    unit = op.Pow(op.Constant(value=TWO), op.Constant(value_int=shift))
    return op.Cast(op.Floor(op.Cast(g, to=DOUBLE) * slope / unit + 0.5), to=INT32)


@script(edgesnn_domain, default_opset=op)
def LIFDropGradient(g, v, s, theta, drop, width: int, shift: int):
    """`Triangle` of m = v' + drop*s, for neurons that subtract `drop`.

    g, v (v', the membrane after the step) s32 [1, C, ...], s u8 like g; drop s32 like theta.
    """
    m = op.Cast(v, to=DOUBLE) + op.Cast(drop, to=DOUBLE) * op.Cast(s, to=DOUBLE)
    return Triangle(g, m, theta, width=width, shift=shift)


@script(edgesnn_domain, default_opset=op)
def LIFGradient(g, v, s, theta, width: int, shift: int):
    """`Triangle` of m = v' + theta*s, for neurons that subtract the threshold they fire at: as `LIFDropGradient`."""
    return LIFDropGradient(g, v, s, theta, theta, width=width, shift=shift)


@script(edgesnn_domain, default_opset=op)
def LIFClearGradient(g, v, I, lam, theta, width: int, shift: int):
    """`Triangle` of m = Integrate(v, I, lam), for neurons whose spikes leave nothing of their membrane.

    g, v (the membrane before the step), I s32 [1, C, ...]; lam s32 like theta.
    """
    return Triangle(g, Integrate(v, I, lam), theta, width=width, shift=shift)
