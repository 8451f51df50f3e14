"""Rescale: accumulators -> membrane currents, in fixed point.

Batch norm, weight scale, input scale and pooling divisor fold into `M` and `b`.
"""

from __future__ import annotations

from onnxscript import script

from edgesnn.export.functions.domain import DOUBLE, INT32, TWO, edgesnn_domain, op


@script(edgesnn_domain, default_opset=op)
def Rescale(a, M, b, shift: int):
    """I = ((a*M + 2^(n-1)) >> n) + b with n = `shift`; a s32 [N, O, ...], M and b s32 broadcastable to it.

    float64 is exact because the exporter proves |a*M| + 2^(n-1) < 2^53, and I within int32.
    """
    product = op.Cast(a, to=DOUBLE) * op.Cast(M, to=DOUBLE)
    scaled = product / op.Pow(op.Constant(value=TWO), op.Constant(value_int=shift))
    return op.Cast(op.Floor(scaled + 0.5), to=INT32) + b
