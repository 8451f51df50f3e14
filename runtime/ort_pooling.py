"""Pooling for ONNX Runtime, by kernels that it has fast ones of.

Each function takes a node of the function library and returns whether it has put something faster in its place.
Shapes: N batch, C channels, H x W pixels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from edgesnn.runtime.ort_values import CONTRIB, Form, Rewriter

Attributes = dict[str, Any]
#: Integers below it, and halves of those below its half, are exact in float32.
_EXACT = 2**23


def max_pool2d(graph: Rewriter, node: onnx.NodeProto, attributes: Attributes) -> bool:
    """The largest spike of each window, channels last: ONNX Runtime's other kernel for uint8 is many times slower."""
    (x,) = node.input
    if graph.types.get(x) != TensorProto.UINT8:
        return False
    rows = graph.one("NhwcMaxPool", graph.get(x, Form.ROWS), domain=CONTRIB, **attributes)
    graph.put(node.output[0], Form.ROWS, rows)
    if x in graph.high:
        graph.high[node.output[0]] = graph.high[x]
    return True


def sum_pool2d(graph: Rewriter, node: onnx.NodeProto, attributes: Attributes) -> bool:
    """a = the sum of each window, in float32."""
    summed = _sums(graph, node.input[0], attributes)
    if summed is None:
        return False
    sums, most = summed
    graph.put(node.output[0], Form.REAL, sums)
    graph.bounds[node.output[0]] = np.array([most], np.int64)
    return True


def average_pool2d(graph: Rewriter, node: onnx.NodeProto, attributes: Attributes) -> bool:
    """y = clamp((sum*M + 2^(n-1)) >> n, 0, 255): sum*M*2^-n + 1/2, of which a cast leaves the whole number."""
    summed = _sums(graph, node.input[0], attributes)
    if summed is None:
        return False
    sums, most = summed
    M, shift = attributes["M"], attributes["shift"]
    dtype: Any = np.float32
    if most * M + 2**shift >= _EXACT:
        sums, dtype = graph.cast(sums, TensorProto.DOUBLE), np.float64
    scaled = graph.one("Mul", sums, graph.constant(dtype(M * 2.0**-shift)))
    moved = graph.one("Add", scaled, graph.constant(dtype(0.5)))
    clipped = graph.one("Clip", moved, graph.constant(dtype(0)), graph.constant(dtype(255.5)))
    graph.put(node.output[0], Form.PLAIN, graph.cast(clipped, TensorProto.UINT8))
    graph.high[node.output[0]] = min(255, (2 * most * M + 2**shift) >> (shift + 1))
    return True


def _sums(graph: Rewriter, x: str, attributes: Attributes) -> tuple[str, int] | None:
    """The sums of windows as float32, by a convolution of each channel with ones, and a bound of them; x of 8 bits."""
    most = graph.largest(x)
    channels = graph.shapes.get(x, (None, None))[1]
    if most is None or channels is None:
        return None
    ones = np.ones((channels, 1, *attributes["kernel_shape"]), np.float32)
    options = {key: attributes[key] for key in ("strides", "pads")}
    sums = graph.one("Conv", graph.get(x, Form.REAL), graph.constant(ones), group=channels, **options)
    return sums, most * math.prod(attributes["kernel_shape"])
