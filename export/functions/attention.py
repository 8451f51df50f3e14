"""Spiking efficient channel attention in integers (EM-PF eq. 9-10): a current is scaled by a score of its channel.

Shapes: N batch, C channels, P pixels. The sigmoid is a table; the divisor of the mean and the unit of the context fold
into `mean` and `shift`.
"""

from __future__ import annotations

import numpy as np
from onnxscript import script

from edgesnn.export.functions.domain import DOUBLE, INT32, INT64, TWO, edgesnn_domain, op

#: round(2^15 * sigmoid(z)) at z = (i - 128) / 16: sixteen entries a unit, from -8 on.
SIGMOID_Q15 = np.round(2.0**15 / (1.0 + np.exp(-(np.arange(256) - 128) / 16.0))).astype(np.int32)


@script(edgesnn_domain, default_opset=op)
def ChannelScore(context, kernel, table, pixels: int, mean: int, mean_shift: int, shift: int):
    """The score [N, C] of each channel in `ChannelAttention`, Q15 in float64: sigmoid(Conv1d(mean over the pixels))."""
    two = op.Constant(value=TWO)
    planes = op.Concat(op.Constant(value_ints=[0, 0]), op.Reshape(op.Constant(value_int=pixels), [1]), axis=0)
    sums = op.ReduceSum(op.Reshape(op.Cast(context, to=DOUBLE), planes), [2], keepdims=0)
    unit = op.Pow(two, op.Constant(value_int=mean_shift))
    means = op.Floor(sums * op.Cast(op.Constant(value_int=mean), to=DOUBLE) / unit + 0.5)
    size = op.Shape(kernel)
    beside, none = size / 2, op.Constant(value_ints=[0])
    padded = op.Pad(means, op.Concat(none, beside, none, beside, axis=0))
    channels = op.Squeeze(op.Shape(context, start=1, end=2))
    at = op.Unsqueeze(op.Range(0, channels, 1), [1]) + op.Unsqueeze(op.Range(0, op.Squeeze(size), 1), [0])
    u = op.ReduceSum(op.Gather(padded, at, axis=1) * op.Cast(kernel, to=DOUBLE), [2], keepdims=0)
    z = op.Floor(u / op.Pow(two, op.Constant(value_int=shift)) + 0.5)
    place = op.Clip(z, -32768.0, 32767.0) + 32768.0
    entry = op.Floor(place / 256.0)
    entries = op.Cast(table, to=DOUBLE)
    low = op.Gather(entries, op.Cast(entry, to=INT64))
    high = op.Gather(entries, op.Cast(op.Clip(entry + 1.0, 0.0, 255.0), to=INT64))
    return low + op.Floor((high - low) * (place - entry * 256.0) / 256.0 + 0.5)


@script(edgesnn_domain, default_opset=op)
def ChannelAttention(I, context, kernel, table, pixels: int, mean: int, mean_shift: int, shift: int):
    """y = (I*score[c] + 2^14) >> 15; I and `context` s32 [N, C, ...] of P = `pixels` pixels, context may be I -> s32.

    g[c] = (mean*S[c] + 2^(mean_shift-1)) >> mean_shift, S the sum over the pixels of context;
    u[c] = sum_j kernel[j]*g[c + j - k/2], zeros beyond the channels; kernel s32 [k], k odd;
    z = clamp((u + 2^(shift-1)) >> shift, -2^15, 2^15 - 1), in units of 2^-12; score, Q15, is `table` s32 [256] at
    z + 2^15, linear between its entries, which are 2^8 apart. float64 is exact because the exporter proves products and
    sums below 2^53.
    """
    score = ChannelScore(context, kernel, table, pixels=pixels, mean=mean, mean_shift=mean_shift, shift=shift)
    planes = op.Concat(op.Constant(value_ints=[0, 0]), op.Reshape(op.Constant(value_int=pixels), [1]), axis=0)
    scaled = op.Reshape(op.Cast(I, to=DOUBLE), planes) * op.Unsqueeze(score, [2]) / 32768.0
    return op.Cast(op.Reshape(op.Floor(scaled + 0.5), op.Shape(I)), to=INT32)


@script(edgesnn_domain, default_opset=op)
def AttentionGradient(
    g, I, context, kernel, table, pixels: int, mean: int, mean_shift: int, shift: int, sum_shift: int, out_shift: int
):  # fmt: skip
    """The gradient of `ChannelAttention` with respect to its context, through the score s; that of its current is
    `ChannelAttention` of g.

    e[c] = (((G[c] + 2^(sum_shift-1)) >> sum_shift)*q[c] + 2^12) >> 13, G the sum over the pixels of g*I, and
    q[c] = (s[c]*(2^15 - s[c])) >> 15, the slope of the sigmoid; of every pixel of a channel
    b[c] = (sum_j kernel[j]*e[c - j + k/2] + 2^(out_shift-1)) >> out_shift. g s32 like I -> s32 like I; |G| < 2^53.
    """
    two = op.Constant(value=TWO)
    planes = op.Concat(op.Constant(value_ints=[0, 0]), op.Reshape(op.Constant(value_int=pixels), [1]), axis=0)
    products = op.Reshape(op.Cast(g, to=DOUBLE), planes) * op.Reshape(op.Cast(I, to=DOUBLE), planes)
    coarse = op.Pow(two, op.Constant(value_int=sum_shift))
    sums = op.Floor(op.ReduceSum(products, [2], keepdims=0) / coarse + 0.5)
    score = ChannelScore(context, kernel, table, pixels=pixels, mean=mean, mean_shift=mean_shift, shift=shift)
    slope = op.Floor(score * (32768.0 - score) / 32768.0)
    e = op.Floor(sums * slope / 8192.0 + 0.5)
    size = op.Shape(kernel)
    beside, none = size / 2, op.Constant(value_ints=[0])
    padded = op.Pad(e, op.Concat(none, beside, none, beside, axis=0))
    channels, most = op.Squeeze(op.Shape(context, start=1, end=2)), op.Squeeze(size) - 1
    at = op.Unsqueeze(op.Range(0, channels, 1), [1]) + op.Unsqueeze(op.Range(most, -1, -1), [0])
    u = op.ReduceSum(op.Gather(padded, at, axis=1) * op.Cast(kernel, to=DOUBLE), [2], keepdims=0)
    b = op.Floor(u / op.Pow(two, op.Constant(value_int=out_shift)) + 0.5)
    everywhere = op.Expand(op.Unsqueeze(b, [2]), op.Shape(products))
    return op.Cast(op.Reshape(everywhere, op.Shape(g)), to=INT32)
