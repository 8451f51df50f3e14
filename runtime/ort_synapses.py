"""Synapses for ONNX Runtime: products of uint8 and int8, for which processors have instructions.

Each function takes a node of the function library and returns whether it has put something faster in its place.
Shapes: N batch, C inputs, O outputs, H x W pixels, P = H*W.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from edgesnn.runtime.model import Array
from edgesnn.runtime.ort_values import Form, Rewriter

Attributes = dict[str, Any]
#: Fewer input channels are gathered too slowly: their convolution is left to float32.
_LEAST_CHANNELS = 16
#: What an int8 is moved by to be a uint8, which is what the fast products take.
_SIGNED_ZERO = 128


def linear(graph: Rewriter, node: onnx.NodeProto, attributes: Attributes) -> bool:
    """a = x w^T; x int8 goes as uint8 with a zero point: products of two int8 have no fast kernel."""
    x, name = node.input
    most = graph.largest(x)
    if name not in graph.constants or most is None:
        return False
    weights = _weights(graph.constants[name], attributes)
    operands = [graph.get(x, Form.PLAIN), graph.constant(np.ascontiguousarray(weights.T))]
    if graph.types[x] == TensorProto.INT8:
        zero = graph.constant(np.uint8(_SIGNED_ZERO))
        moved = graph.one("QuantizeLinear", graph.get(x, Form.REAL), graph.constant(np.float32(1)), zero)
        operands = [moved, operands[1], zero]
    graph.put(node.output[0], Form.PLAIN, graph.one("MatMulInteger", *operands))
    graph.bounds[node.output[0]] = _bound(weights, most)
    return True


def conv2d(graph: Rewriter, node: onnx.NodeProto, attributes: Attributes) -> bool:
    """a = conv(x, w): patches [N*P', kh*kw*C] gathered from channels-last spikes, times weights; or float32, for groups
    and few channels.
    """
    x, name = node.input
    most = graph.largest(x)
    if name not in graph.constants or most is None:
        return False
    weights = _weights(graph.constants[name], attributes)
    weights = weights.reshape(attributes.get("kernel", weights.shape))
    spikes, whole = graph.types.get(x) == TensorProto.UINT8, attributes.get("group", 1) == 1
    integer = spikes and whole and weights.shape[1] >= _LEAST_CHANNELS
    graph.bounds[node.output[0]] = _bound(weights, most)
    if not integer:
        options = {key: attributes[key] for key in ("strides", "pads", "dilations", "group") if key in attributes}
        operands = [graph.get(x, Form.REAL), graph.constant(weights.astype(np.float32))]
        graph.put(node.output[0], Form.REAL, graph.one("Conv", *operands, **options))
        return True
    graph.put(node.output[0], Form.SUMS, _gathered(graph, x, weights, attributes))
    return True


def _weights(stored: Array, attributes: Attributes) -> Array:
    """int8 weights; packed ones [O, ceil(fan_in*bits/8)] become [O, fan_in]: +-1, or what two's complement says."""
    if "fan_in" not in attributes:
        return stored
    fan_in, width = attributes["fan_in"], attributes.get("bits", 1)
    bits = np.unpackbits(stored, axis=1, count=fan_in * width, bitorder="little").astype(np.int8)
    if width == 1:
        return bits * np.int8(2) - np.int8(1)
    places = 2 ** np.arange(width, dtype=np.int8)
    places[-1] *= -1
    fields: Array = (bits.reshape(len(stored), fan_in, width) * places).sum(axis=2, dtype=np.int8)
    return fields


def _bound(weights: Array, most: int) -> Array:
    """Bound on |sum(w*x)| for each output, int64 [O], where no |x| is above `most`."""
    sums: Array = np.abs(weights.reshape(len(weights), -1).astype(np.int64)).sum(axis=1) * most
    return sums


def _gathered(graph: Rewriter, x: str, weights: Array, attributes: Attributes) -> str:
    outputs, channels, *kernel = weights.shape
    _, height, width = graph.image(x)
    top, left, bottom, right = attributes["pads"]
    padded = (height + top + bottom, width + left + right)
    index, pixels = _patches(padded, tuple(kernel), attributes["strides"], attributes.get("dilations", [1, 1]))
    rows = graph.get(x, Form.ROWS)
    if any(attributes["pads"]):
        pads = graph.constant(np.array([0, top, left, 0, 0, bottom, right, 0], np.int64))
        rows = graph.one("Pad", rows, pads, graph.constant(np.uint8(0)))
    rows = graph.one("Reshape", rows, graph.constant(np.array([-1, padded[0] * padded[1], channels], np.int64)))
    patches = graph.one("Gather", rows, graph.constant(index), axis=1)
    fan_in = weights[0].size
    flat = graph.one("Reshape", patches, graph.constant(np.array([-1, pixels, fan_in], np.int64)))
    matrix = weights.transpose(2, 3, 1, 0).reshape(fan_in, outputs)
    return graph.one("MatMulInteger", flat, graph.constant(np.ascontiguousarray(matrix)))


def _patches(
    padded: tuple[int, int], kernel: tuple[int, ...], strides: list[int], dilations: list[int]
) -> tuple[Array, int]:
    """The padded pixel of each pixel's taps, int64 [P' * kh*kw], and P'."""
    down, across = (np.arange(taps) * gap for taps, gap in zip(kernel, dilations, strict=True))
    top, left = (
        np.arange(0, size - taps[-1], stride)
        for size, taps, stride in zip(padded, (down, across), strides, strict=True)
    )
    rows = top[:, None, None, None] + down[:, None]
    columns = left[:, None, None] + across
    return (rows * padded[1] + columns).reshape(-1).astype(np.int64), len(top) * len(left)
