"""Currents, neurons and integrators for ONNX Runtime, in few passes over memory.

The definitions (edgesnn/export/functions) round by Floor in float64, which ONNX Runtime runs slowly. Here the current
I + ROUNDING and the leaked membrane lam*v*2^-15 + 2^-17 are added: one sum, rounded to an integer, m + ROUNDING. The
2^-17 is below the unit 2^-15 of the product, and makes halves go up. From m on, float32 holds all there is: 24 bits.
Each function takes a node and returns whether it has put something faster in its place.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from edgesnn.runtime.ort_values import ROUNDING, Form, Rewriter, Scaled

Attributes = dict[str, Any]
_LOW, _HIGH, _Q15 = -(2**23), 2**23 - 1, 2**15
#: Below the unit of lam*v*2^-15, makes halves go up.
_ABOVE = 2.0**-17
#: Magnitudes of sums that ROUNDING still rounds to integers.
_ROUNDED = 2.0**50
#: Thresholds and spikes up to here, and their differences, are exact in float32.
_EXACT_BITS = 22


def rescale(graph: Rewriter, node: onnx.NodeProto, attributes: Attributes) -> bool:
    """I = ((a*M + 2^(n-1)) >> n) + b, put off until its form is known."""
    a, m, b = node.input
    if a not in graph.bounds or m not in graph.constants:
        return False
    offset = graph.constants.get(b, b)
    graph.scaled[node.output[0]] = Scaled(a, graph.bounds[a], graph.constants[m], offset, attributes["shift"])
    return True


def requantize(graph: Rewriter, node: onnx.NodeProto, attributes: Attributes) -> bool:
    """y = clamp(((a*M + 2^(n-1)) >> n) + b) to the bits of a signal."""
    signed = attributes["to"] == TensorProto.INT8
    low = -(2 ** (attributes["bits"] - 1)) if signed else 0
    high = low + 2 ** attributes["bits"] - 1
    if not rescale(graph, node, attributes):
        return False
    scaled = graph.scaled.pop(node.output[0])
    if _largest(scaled) >= _ROUNDED:
        return False
    current = graph.one("Sub", graph.rescaled(scaled), graph.constant(ROUNDING))
    clipped = graph.one("Clip", current, graph.constant(np.float64(low)), graph.constant(np.float64(high)))
    graph.put(node.output[0], Form.PLAIN, graph.cast(clipped, attributes["to"]))
    if not signed:
        graph.high[node.output[0]] = high
    return True


def widen(graph: Rewriter, node: onnx.NodeProto, _: Attributes) -> bool:
    """A signal as a current, or as what a rescale makes one of."""
    (x,) = node.input
    most = graph.largest(x)
    if most is None:
        return False
    graph.put(node.output[0], Form.REAL, graph.get(x, Form.REAL))
    graph.bounds[node.output[0]] = np.array([most], np.int64)
    return True


def add(graph: Rewriter, node: onnx.NodeProto, _: Attributes) -> bool:
    """a + b, exact: the exporter proves that currents fit int32."""
    a, b = node.input
    total = graph.one("Add", graph.get(a, Form.OFFSET), graph.get(b, Form.WIDE))
    graph.put(node.output[0], Form.OFFSET, total)
    return True


def empf(graph: Rewriter, node: onnx.NodeProto, attributes: Attributes) -> bool:
    """m = sat24(((lam*v + 2^14) >> 15) + I); s = Grade(m); v' = m - (s << k)."""
    v, current, lam, theta = node.input
    if not _fits(graph, theta, attributes["k"] + attributes["bits"]) or not _shared(graph, lam):
        return False
    excess = _excess(graph, _integrated(graph, v, current, lam), theta)
    spikes = _graded(graph, excess, node.output[0], attributes)
    emitted = graph.one("DequantizeLinear", spikes, graph.constant(np.float32(2.0 ** attributes["k"])))
    _leave(graph, node.output[1], theta, graph.one("Sub", excess, emitted))
    return True


def parallel_empf(graph: Rewriter, node: onnx.NodeProto, attributes: Attributes) -> bool:
    """s = Grade(sat24(I)). A current beyond 24 bits is beyond what a spike counts, so that it need not be saturated."""
    current, theta = node.input
    if not _fits(graph, theta, attributes["k"] + attributes["bits"]):
        return False
    _graded(graph, _excess(graph, graph.get(current, Form.OFFSET), theta), node.output[0], attributes)
    return True


def lif(graph: Rewriter, node: onnx.NodeProto, _: Attributes) -> bool:
    """s = [m >= theta]; v' = m - theta*s, or of `LIFDrop` m - drop*s."""
    v, current, lam, theta, *rest = node.input
    drop = rest[0] if rest else theta
    if not (_fits(graph, theta, 1) and _fits(graph, drop, 1) and _shared(graph, lam)):
        return False
    excess, above = _compared(graph, node, _integrated(graph, v, current, lam), theta)
    emitted = graph.one("Mul", graph.cast(above, TensorProto.FLOAT), _real(graph, drop))
    _leave(graph, node.output[1], theta, graph.one("Sub", excess, emitted))
    return True


def lif_clear(graph: Rewriter, node: onnx.NodeProto, _: Attributes) -> bool:
    """s = [m >= theta]; v' = 0 where s, else m: less theta, -theta or m - theta."""
    v, current, lam, theta = node.input
    if not _fits(graph, theta, 1) or not _shared(graph, lam):
        return False
    excess, above = _compared(graph, node, _integrated(graph, v, current, lam), theta)
    empty = graph.one("Neg", _real(graph, theta))
    _leave(graph, node.output[1], theta, graph.one("Where", above, empty, excess))
    return True


def _compared(graph: Rewriter, node: onnx.NodeProto, total: str, theta: str) -> tuple[str, str]:
    """m - theta in float32 and whether it is a spike; the first output of the node is that."""
    excess = _excess(graph, total, theta)
    above = graph.one("GreaterOrEqual", excess, graph.constant(np.float32(0)))
    graph.put(node.output[0], Form.PLAIN, graph.cast(above, TensorProto.UINT8))
    graph.high[node.output[0]] = 1
    return excess, above


def leaky_integrate(graph: Rewriter, node: onnx.NodeProto, _: Attributes) -> bool:
    """acc' = sat24(((leak*acc + 2^14) >> 15) + I)."""
    acc, current, leak = node.input
    total = _integrated(graph, acc, current, leak)
    graph.put(node.output[0], Form.WIDE, graph.one("Sub", total, graph.constant(ROUNDING)))
    return True


def _fits(graph: Rewriter, theta: str, bits: int) -> bool:
    """Whether threshold and spike steps are within what float32 holds; trained thresholds are, by how they learn."""
    known = graph.constants.get(theta, np.zeros(1, np.int32))
    return bool(((known >= 0) & (known < 2**23)).all()) and known.size == 1 and bits <= _EXACT_BITS


def _shared(graph: Rewriter, lam: str) -> bool:
    """Whether a leak that is known is the same for all channels."""
    return lam not in graph.constants or graph.constants[lam].size == 1


def _integrated(graph: Rewriter, v: str, current: str, lam: str) -> str:
    """m + ROUNDING, saturated to 24 bits where it can leave them."""
    total = graph.one("Add", graph.get(current, Form.OFFSET), _leaked(graph, v, lam))
    if _stays_within(graph, current, lam):
        return total
    return graph.one("Clip", total, graph.constant(ROUNDING + _LOW), graph.constant(ROUNDING + _HIGH))


def _leaked(graph: Rewriter, v: str, lam: str) -> str:
    """lam*v*2^-15 + 2^-17, exact."""
    if lam not in graph.constants or graph.constants[lam].size > 1:
        factor = graph.one("Mul", graph.get(lam, Form.WIDE), graph.constant(np.float64(1 / _Q15)))
        product = graph.one("Mul", graph.get(v, Form.WIDE), factor)
        return graph.one("Add", product, graph.constant(np.float64(_ABOVE)))
    leak, offset = float(graph.constants[lam].reshape(-1)[0]) / _Q15, _ABOVE
    if leak == 1.0:
        return graph.get(v, Form.WIDE)
    below = graph.forms(v).get(Form.BELOW)
    if below is not None:  # lam*v = lam*(v - theta) + lam*theta
        offset += leak * graph.thresholds[v]
    wide = graph.get(v, Form.WIDE) if below is None else graph.cast(below, TensorProto.DOUBLE)
    shape = graph.shapes.get(v, ())
    column = np.ones((shape[1] or 1, 1, 1) if len(shape) == 4 and shape[1] else 1)
    return graph.affine(wide, column * leak, column * offset)


def _stays_within(graph: Rewriter, current: str, lam: str) -> bool:
    """Whether |lam*v| + |I| < 2^23 for any v of 24 bits."""
    scaled = graph.scaled.get(current)
    if scaled is None or lam not in graph.constants:
        return False
    return float(graph.constants[lam].max()) / _Q15 * 2**23 + _largest(scaled) < 2**23


def _largest(scaled: Scaled) -> float:
    """A bound on the magnitude of a rescaled current; infinite where b is trained."""
    if isinstance(scaled.b, str):
        return math.inf
    products = np.abs(scaled.m.astype(np.float64)).reshape(-1) * scaled.bound * 2.0**-scaled.shift
    return float((products + np.abs(np.asarray(scaled.b, np.float64)).reshape(-1)).max()) + 2


def _excess(graph: Rewriter, total: str, theta: str) -> str:
    """m - theta in float32, from m + ROUNDING."""
    if theta in graph.constants:
        threshold = graph.constants[theta].astype(np.float64).reshape(())
        return graph.cast(graph.one("Sub", total, graph.constant(ROUNDING + threshold)), TensorProto.FLOAT)
    m = graph.cast(graph.one("Sub", total, graph.constant(ROUNDING)), TensorProto.FLOAT)
    return graph.one("Sub", m, _real(graph, theta))


def _leave(graph: Rewriter, name: str, theta: str, below: str) -> None:
    """The membrane that is left, of which `below` is v' - theta."""
    if theta in graph.constants:
        graph.thresholds[name] = float(graph.constants[theta].reshape(()))
        graph.put(name, Form.BELOW, below)
    else:
        graph.put(name, Form.REAL, graph.one("Add", below, _real(graph, theta)))


def _real(graph: Rewriter, theta: str) -> str:
    if theta in graph.constants:
        return graph.constant(graph.constants[theta].astype(np.float32).reshape(()))
    return graph.get(theta, Form.REAL)


def _graded(graph: Rewriter, excess: str, name: str, attributes: Attributes) -> str:
    """s = clamp((m - theta + 2^(k-1)) >> k, 0, 2^bits - 1) as uint8, from m - theta in float32.

    QuantizeLinear divides, rounds halves to even and saturates to uint8. The divisor is the float just below 2^k, so
    that halves are a little above themselves and go up; other quotients are at least 2^-k away from a half.
    """
    divisor = np.nextafter(np.float32(2.0 ** attributes["k"]), np.float32(0))
    spikes = graph.one("QuantizeLinear", excess, graph.constant(divisor), graph.constant(np.uint8(0)))
    highest = 2 ** attributes["bits"] - 1
    if highest < 255:
        spikes = graph.one("Min", spikes, graph.constant(np.uint8(highest)))
    graph.put(name, Form.PLAIN, spikes)
    graph.high[name] = highest
    return spikes
