"""Neurons and integrators: the membrane recurrence in Q15, saturated to 24 bits.

Shapes: v, I s32 [N, C, ...]; lam (Q15, 0 to 2^15), theta s32 [1], or one a channel: [C] or [C, 1, 1], then lam of EMPF
is from -2^18 to 2^18. All intermediate values stay below 2^42, so that float64 is exact. `sat24` keeps endless streams
from overflowing.
"""

from __future__ import annotations

from onnxscript import script

from edgesnn.export.functions.domain import DOUBLE, INT32, INT64, TWO, UINT8, edgesnn_domain, op


@script(edgesnn_domain, default_opset=op)
def Integrate(v, I, lam):
    """m = sat24(((lam*v + 2^14) >> 15) + I), in float64."""
    leaked = op.Floor(op.Cast(v, to=DOUBLE) * op.Cast(lam, to=DOUBLE) / 32768.0 + 0.5)
    return op.Clip(leaked + op.Cast(I, to=DOUBLE), -8388608.0, 8388607.0)


@script(edgesnn_domain, default_opset=op)
def Grade(m, theta, k: int, bits: int):
    """s = clamp((m - theta + 2^(k-1)) >> k, 0, 2^bits - 1), in float64."""
    two = op.Constant(value=TWO)
    level = op.Floor((m - op.Cast(theta, to=DOUBLE)) / op.Pow(two, op.Constant(value_int=k)) + 0.5)
    top = op.Pow(two, op.Constant(value_int=bits)) - 1.0
    return op.Clip(level, 0.0, top)


@script(edgesnn_domain, default_opset=op)
def EMPF(v, I, lam, theta, k: int, bits: int):
    """EM-PF version I: s = Grade(Integrate(v, I, lam)); v' = m - (s << k): the rounding error is carried, not lost."""
    m = Integrate(v, I, lam)
    s = Grade(m, theta, k=k, bits=bits)
    residual = m - s * op.Pow(op.Constant(value=TWO), op.Constant(value_int=k))
    return op.Cast(s, to=UINT8), op.Cast(residual, to=INT32)


@script(edgesnn_domain, default_opset=op)
def ParallelEMPF(I, theta, k: int, bits: int):
    """EM-PF version III: s = Grade(sat24(I)); no residual membrane, all time steps at once."""
    m = op.Clip(op.Cast(I, to=DOUBLE), -8388608.0, 8388607.0)
    return op.Cast(Grade(m, theta, k=k, bits=bits), to=UINT8)


@script(edgesnn_domain, default_opset=op)
def LIF(v, I, lam, theta):
    """LIF: s = [m >= theta]; v' = m - theta*s, m = Integrate(v, I, lam)."""
    m = Integrate(v, I, lam)
    threshold = op.Cast(theta, to=DOUBLE)
    s = op.GreaterOrEqual(m, threshold)
    residual = m - op.Cast(s, to=DOUBLE) * threshold
    return op.Cast(s, to=UINT8), op.Cast(residual, to=INT32)


@script(edgesnn_domain, default_opset=op)
def LIFDrop(v, I, lam, theta, drop):
    """LIF that subtracts another number than its threshold: s = [m >= theta]; v' = m - drop*s; drop s32 [1]."""
    m = Integrate(v, I, lam)
    s = op.GreaterOrEqual(m, op.Cast(theta, to=DOUBLE))
    residual = m - op.Cast(s, to=DOUBLE) * op.Cast(drop, to=DOUBLE)
    return op.Cast(s, to=UINT8), op.Cast(residual, to=INT32)


@script(edgesnn_domain, default_opset=op)
def LIFClear(v, I, lam, theta):
    """LIF with reset to zero: s = [m >= theta]; v' = 0 where s, else m."""
    m = Integrate(v, I, lam)
    s = op.GreaterOrEqual(m, op.Cast(theta, to=DOUBLE))
    residual = m * (1.0 - op.Cast(s, to=DOUBLE))
    return op.Cast(s, to=UINT8), op.Cast(residual, to=INT32)


@script(edgesnn_domain, default_opset=op)
def LeakyIntegrate(acc, I, leak):
    """Leaky readout: acc' = Integrate(acc, I, leak)."""
    return op.Cast(Integrate(acc, I, leak), to=INT32)


@script(edgesnn_domain, default_opset=op)
def Trace(trace, s, leak, gain: int, limit: int):
    """Running mean of spikes, the presynaptic trace of OTTT: trace' = min(((leak*trace + 2^14) >> 15) + s*gain, limit).

    s u8 [N, C]; `limit` is what the exporter has proven safe for the readout's accumulator.
    """
    leaked = op.Floor(op.Cast(trace, to=DOUBLE) * op.Cast(leak, to=DOUBLE) / 32768.0 + 0.5)
    arrived = op.Cast(s, to=DOUBLE) * op.Cast(op.Constant(value_int=gain), to=DOUBLE)
    return op.Cast(op.Clip(leaked + arrived, 0.0, op.Cast(op.Constant(value_int=limit), to=DOUBLE)), to=INT32)


@script(edgesnn_domain, default_opset=op)
def NextStep(t, steps: int):
    """The time index of networks with parameters of their own for each time step: t' = (t + 1) mod steps; t s32 [1]."""
    return op.Cast(op.Mod(op.Cast(t, to=INT64) + 1, op.Constant(value_int=steps)), to=INT32)


@script(edgesnn_domain, default_opset=op)
def LastStep(t, steps: int):
    """The time index that the most recent step has read: (t + steps - 1) mod steps; t s32 [1] is that of the next."""
    most = op.Constant(value_int=steps)
    return op.Cast(op.Mod(op.Cast(t, to=INT64) + most - 1, most), to=INT32)
