"""Proof by interval arithmetic that no integer of a step graph leaves its type, from fan-in, weights and ranges.

Every value is followed as an interval [low, high] through the graph; a graph for which a bound cannot be shown is
refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgesnn.errors import ExportError
from edgesnn.export.fixed_point import EXACT

Array = NDArray[Any]
Interval = tuple[int, int]

SAT24: Interval = (-(2**23), 2**23 - 1)
#: Thresholds, learned ones too.
THRESHOLD: Interval = (0, SAT24[1])
FLOAT32_EXACT = 2**24
INT32: Interval = (-(2**31), 2**31 - 1)
#: Currents stay below this, so that adding a leaked 24-bit membrane cannot leave int32.
CURRENT_LIMIT = 2**30
#: Trained weights keep to the symmetric range of int8.
TRAINED_WEIGHT = 127


def accumulator_bound(weights: Array, low: int, high: int) -> int:
    """max over outputs of |sum_c w[o, c]*x[c]|, partial sums too; x in [low, high], which holds 0; w [O, fan_in]."""
    wide = weights.astype(np.int64)
    positive, negative = np.maximum(wide, 0).sum(axis=1), np.maximum(-wide, 0).sum(axis=1)
    largest = positive * high + negative * -low
    smallest = positive * -low + negative * high
    return int(max(largest.max(), smallest.max()))


def score_bound(inputs: int, trace: int) -> int:
    """Bound on a score of class means: |w x| <= 127*C*trace for traces from 0 to `trace`, and a bias of twice that."""
    return 3 * TRAINED_WEIGHT * inputs * trace


@dataclass(frozen=True)
class Bound:
    """What was shown for one node: the interval of its first output and the limit it must keep."""

    node: str
    function: str
    low: int
    high: int
    limit: int


def prove(step: onnx.ModelProto) -> list[Bound]:
    """Bounds of every node of the function library, in order.

    Raises:
        ExportError: naming the node, its bound and the limit it may exceed.
    """
    return _proof(step).bounds


def intervals(step: onnx.ModelProto) -> dict[str, Interval]:
    """The proven range of each value of the graph by name, constants left out.

    Raises:
        ExportError: as `prove`.
    """
    return _proof(step).intervals


def _proof(step: onnx.ModelProto) -> _Proof:
    proof = _Proof(step.graph)
    for node in step.graph.node:
        handler = getattr(proof, f"_{node.op_type.lower()}", None)
        if handler is None:
            raise ExportError(
                f"{node.name}: expected a node with known bounds, got {node.op_type}; export it with edgesnn"
            )
        handler(node, {entry.name: helper.get_attribute_value(entry) for entry in node.attribute})
    return proof


class _Proof:
    """Intervals by value name; one method an operator, named like it."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.constants = {init.name: numpy_helper.to_array(init).astype(np.int64) for init in graph.initializer}
        inputs = {entry.name: entry.type.tensor_type.elem_type for entry in graph.input}
        self.trainable = set(inputs) & set(self.constants)
        self.intervals: dict[str, Interval] = {}
        self.bounds: list[Bound] = []
        for name, elem_type in inputs.items():
            if name not in self.trainable:
                limits = np.iinfo(helper.tensor_dtype_to_np_dtype(elem_type))
                # int32 inputs are states: whatever writes them keeps to 24 bits.
                self.intervals[name] = SAT24 if limits.bits == 32 else (int(limits.min), int(limits.max))

    def _range(self, name: str) -> Interval:
        if name in self.constants:
            values = self.constants[name]
            if name in self.trainable:
                return THRESHOLD if name.endswith(".theta") else SAT24
            return int(values.min()), int(values.max())
        return self.intervals[name]

    def _keep(self, node: onnx.NodeProto, interval: Interval, limit: int) -> None:
        low, high = interval
        if max(-low, high) > limit:
            raise ExportError(
                f"{node.name}: expected values within +-{limit}, got a bound of {max(-low, high)}; "
                "reduce the fan-in, the bits of the spikes, or the scale of the weights"
            )
        self.intervals[node.output[0]] = interval
        self.bounds.append(Bound(node.name, node.op_type, low, high, limit))

    def _weights(self, name: str, fan_in: int | None) -> Array:
        weights = self.constants[name]
        if fan_in is not None:
            weights = (
                np.unpackbits(weights.astype(np.uint8), axis=1, bitorder="little")[:, :fan_in].astype(np.int64) * 2 - 1
            )
        weights = weights.reshape(len(weights), -1)
        if name in self.trainable:
            return np.full_like(weights, TRAINED_WEIGHT if fan_in is None else 1)
        return weights

    def _synapse(self, node: onnx.NodeProto, attributes: dict[str, Any], limit: int) -> None:
        weights = self._weights(node.input[1], attributes.get("fan_in"))
        bound = accumulator_bound(weights, *self._range(node.input[0]))
        self._keep(node, (-bound, bound), limit)

    def _linear(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        self._synapse(node, attributes, INT32[1])

    _binarylinear = _linear

    def _conv2d(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        self._synapse(node, attributes, FLOAT32_EXACT)

    _binaryconv2d = _conv2d

    def _rescale(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        shift = int(attributes["shift"])
        low, high = self._range(node.input[0])
        m_low, m_high = self._range(node.input[1])
        corners = [a * m for a in (low, high) for m in (m_low, m_high)]
        product = max(abs(corner) for corner in corners) + 2 ** (shift - 1)
        if not 1 <= shift <= 52 or product >= EXACT:
            raise ExportError(
                f"{node.name}: expected products below 2^53 and a shift of 1 to 52, got {product} and {shift}; "
                "reduce the fan-in or the scale of the weights"
            )
        b_low, b_high = self._range(node.input[2])
        half = 2 ** (shift - 1)
        interval = (((min(corners) + half) >> shift) + b_low, ((max(corners) + half) >> shift) + b_high)
        self._keep(node, interval, CURRENT_LIMIT)

    def _leak(self, node: onnx.NodeProto, name: str) -> None:
        low, high = self._range(name)
        if low < 0 or high > 2**15:
            raise ExportError(
                f"{node.name}: expected a leak in Q15 from 0 to 32768, got {low} to {high}; keep it in [0, 1]"
            )

    def _threshold(self, node: onnx.NodeProto, name: str) -> None:
        low, high = self._range(name)
        if low < THRESHOLD[0] or high > THRESHOLD[1]:
            raise ExportError(
                f"{node.name}: expected thresholds from 0 to {THRESHOLD[1]}, got {low} to {high}; "
                "retrain with a threshold above 0, or of fewer spike units"
            )

    def _graded(self, node: onnx.NodeProto, attributes: dict[str, Any], threshold: str) -> None:
        self._threshold(node, threshold)
        k, bits = int(attributes["k"]), int(attributes["bits"])
        if not 1 <= k <= 15 or not 1 <= bits <= 8:
            raise ExportError(f"{node.name}: expected 1 <= k <= 15 and 1 <= bits <= 8, got k={k}, bits={bits}")
        self._keep(node, (0, 2**bits - 1), 255)

    def _empf(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        self._leak(node, node.input[2])
        self._graded(node, attributes, node.input[3])
        # What is subtracted is at most m - theta + 2^(k-1), and theta >= 0: v' >= -2^(k-1) or v' = m.
        self.intervals[node.output[1]] = SAT24

    def _parallelempf(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        self._graded(node, attributes, node.input[1])

    def _lif(self, node: onnx.NodeProto, _: dict[str, Any]) -> None:
        self._leak(node, node.input[2])
        self._threshold(node, node.input[3])
        self._keep(node, (0, 1), 1)
        self.intervals[node.output[1]] = SAT24

    def _leakyintegrate(self, node: onnx.NodeProto, _: dict[str, Any]) -> None:
        self._leak(node, node.input[2])
        self._keep(node, SAT24, -SAT24[0])

    def _trace(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        self._leak(node, node.input[2])
        self._keep(node, (0, int(attributes["limit"])), SAT24[1])

    def _guardedmeans(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        inputs = self.constants[node.input[1]].shape[1]
        score = score_bound(inputs, self._range(node.input[0])[1])
        if score > INT32[1]:
            raise ExportError(
                f"{node.name}: expected scores within +-{INT32[1]}, got a bound of {score}; use fewer inputs"
            )
        shift, top = int(attributes["shift"]), score * self._range(node.input[6])[1]
        if not 1 <= shift <= 52 or top + 2 ** (shift - 1) >= EXACT:
            raise ExportError(
                f"{node.name}: expected products below 2^53 and a shift of 1 to 52, got {top} and {shift}"
            )
        bound = (top + 2 ** (shift - 1)) >> shift
        self._keep(node, (-bound, bound), INT32[1])

    def _nextstep(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        self._keep(node, (0, int(attributes["steps"]) - 1), INT32[1])

    def _maxpool2d(self, node: onnx.NodeProto, _: dict[str, Any]) -> None:
        self._keep(node, self._range(node.input[0]), 255)

    def _same(self, node: onnx.NodeProto, _: dict[str, Any]) -> None:
        self.intervals[node.output[0]] = self._range(node.input[0])

    def _retain(self, node: onnx.NodeProto, _: dict[str, Any]) -> None:
        self.intervals[node.output[0]] = self._range(node.input[1])

    _identity = _flatten = _gather = _same
