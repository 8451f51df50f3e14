"""Learning graphs of the scopes that go beyond the readout: SLTT at the current step, in integers.

Shapes: O outputs and C inputs of a layer. A gradient is an integer with a real value of one unit. All factors between
units are chosen here, so that no sum or product leaves its type (docs/learning-layers.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgesnn.errors import ExportError
from edgesnn.export.bounds import TRAINED_WEIGHT
from edgesnn.export.builder import GraphBuilder
from edgesnn.export.c_graph import Node, Tensor
from edgesnn.export.error_path import (
    MAXIMA,
    NEURONS,
    SUMS,
    SYNAPSES,
    ErrorPath,
    copies,
    error_inputs,
    overlap,
    threshold,
)
from edgesnn.export.fixed_point import Q15, multiplier
from edgesnn.export.gradient import LIMIT, Gradient, at_step, in_unit, reshaped, scaled, total, uniform
from edgesnn.export.learn import BIAS, COUNT, WEIGHT, error_operands
from edgesnn.export.learn import learn_spec as readout_spec
from edgesnn.export.learn import trace_limit as readout_trace_limit
from edgesnn.export.lower import HiddenLayer, ReadoutLayer
from edgesnn.export.lower.values import Weights
from edgesnn.export.trace import TRACE, TraceScale
from edgesnn.runtime.graph import NEW
from edgesnn.runtime.model import LearnSpec

Array = NDArray[Any]

#: A weight moves by step*input / 2^24; by fewer bits where steps would not fit, or would be kept to less than they are:
#: for that, 16 are enough.
_STEP_BITS, _ENOUGH_BITS = 24, 16
#: A threshold moves by its step / 2^16 (functions.LearnThreshold).
_THRESHOLD_BITS = 16
#: Every tensor that learns draws numbers of its own: seeds are this far apart.
_SEED_STEP = 0x9E3779B9
_INT16 = 2**15 - 1
#: The largest magnitude of a weight of 8 bits, of 1 bit.
_LARGEST = {False: 128, True: 1}


#: Of the readout's weights, which move by rows of q here.
LARGEST_SHIFT = 30


def trace_limit(inputs: int) -> int:
    """The largest trace whose products with an error in Q15 fit int32."""
    return min(readout_trace_limit(inputs), _INT16)


def layers_spec(name: str, readout: ReadoutLayer, scale: TraceScale, rate: float, seed: int) -> LearnSpec:
    """The numbers of scope `name`: those of scope `readout`, for a rate with a shift of at most `LARGEST_SHIFT`.

    Raises:
        ExportError: a seed that does not fit 32 bits.
    """
    return LearnSpec(name, readout_spec(readout, scale, rate, seed).numbers)


def add_states(builder: GraphBuilder, path: ErrorPath) -> None:
    """Let the step keep what learning reads, and name the latents that only learning reads.

    What the step writes is kept as soon as it is there; states, of which learning reads those before the step, and the
    input, first of all.
    """
    for value in path.kept:
        name, writer = value.place, _writer(builder, value.place)
        state = builder.state(_kept(value), value.shape[1:], dtype=value.dtype)
        builder.call("Retain", f"{name}.retain", [state, name], [state + NEW])
        builder.nodes.insert(writer + 1, builder.nodes.pop())
    for node in path.nodes:
        synapse = path.weights.get(node.inputs[1].place) if node.op in SYNAPSES else None
        if synapse is not None and synapse.latent is not None:
            builder.persistent(_latent(synapse), "param", "int8", synapse.latent.shape)


def layers_graph(
    step: GraphBuilder, readout: ReadoutLayer, path: ErrorPath, scale: TraceScale, rate: float, spec: LearnSpec,
    metadata: dict[str, str],
) -> onnx.ModelProto:  # fmt: skip
    """`learn.onnx`: the error of the readout, back through the layers, and all updates.

    Raises:
        ExportError: a learning rate for which the steps of a layer do not fit 30 bits, or never reach one unit.
    """
    graph = _LearnGraph(step, path, rate, spec.numbers)
    graph.add(readout, scale)
    return graph.builder.build("learn", metadata, "One learning step at the current time step, layer by layer.")


def _writer(builder: GraphBuilder, name: str) -> int:
    """The number of the node that writes a value; -1 for an input."""
    return next((i for i, node in enumerate(builder.nodes) if name in node.output), -1)


def _kept(value: Tensor) -> str:
    """The state that keeps a value of the step."""
    return f"{value.place}.kept"


def _latent(synapse: Weights) -> str:
    return f"{synapse.name.removesuffix('.weight')}.latent"


class _LearnGraph:
    """Nodes from the readout down. A layer's weights are read for the backward before its update writes them."""

    def __init__(self, step: GraphBuilder, path: ErrorPath, rate: float, numbers: dict[str, int]) -> None:
        self.builder, self.path, self.rate, self.numbers = GraphBuilder(), path, rate, numbers
        self._factory = {init.name: init for init in step.initializers}
        self._parts: dict[str, list[Gradient]] = {}
        self._known: set[str] = set()
        self._seeds = 0

    def add(self, readout: ReadoutLayer, scale: TraceScale) -> None:
        """All nodes."""
        b, path = self.builder, self.path
        classes, inputs = readout.classes, readout.spikes.shape[0]
        for name, dtype, shape in (
            (WEIGHT, "int8", [classes, inputs]), (BIAS, "int32", [classes]), (COUNT, "int32", [1])
        ):  # fmt: skip
            self._updated(name, dtype, shape)
        self._input(TRACE, "int32", [1, inputs])
        self._input("label", "int32", [1])
        operands, shift = error_operands(b, readout, scale)
        b.call("ReadoutError", "readout.error", operands, ["readout.e"], shift=shift)
        b.call("BackwardLinear", "readout.backward", ["readout.e", WEIGHT], ["readout.g"])
        # Probabilities add up to 2^15 and the label's is 2^15 at most, so that all errors together are 2^16 at most.
        unit = np.array([readout.unit / Q15])
        self._pass_on(path.source, Gradient("readout.g", unit, TRAINED_WEIGHT * 2 * Q15, path.source.shape))
        for node in reversed(path.nodes):
            value = path.made[node.outputs[0].place]
            parts = [
                reshaped(b, part, value.shape, f"{value.place}.back{i}")
                for i, part in enumerate(self._parts.pop(value.place), start=1)
            ]
            _HANDLERS[node.op](self, node, total(b, parts, path.growth[value.place], f"{value.place}.g"))
        b.call("LearnLinear", "readout.descend", [WEIGHT, TRACE, "readout.e", COUNT], [WEIGHT + NEW],
               limit=Q15, shift=self.numbers["weight_shift"], seed=self._next_seed())  # fmt: skip
        b.call("LearnBias", "readout.offset", [BIAS, "readout.e", COUNT], [BIAS + NEW, COUNT + NEW],
               shift=self.numbers["bias_shift"], seed=self._next_seed())  # fmt: skip

    def _pass_on(self, value: Tensor, gradient: Gradient) -> None:
        """To the writer of the value, if that is on the path."""
        if value.place in self.path.wanted:
            self._parts.setdefault(value.place, []).append(gradient)

    def same(self, node: Node, gradient: Gradient) -> None:
        """Widen and Add: the error of the sum is that of each term."""
        for value in node.inputs:
            self._pass_on(value, gradient)

    def rescale(self, node: Node, gradient: Gradient) -> None:
        """The worth of an accumulator, by channel: no node, but where it differs by time step."""
        a, m, _ = node.inputs
        factors = numpy_helper.to_array(self._factory[m.place]) / 2.0 ** node.attributes["shift"]
        if m.index is None:
            self._pass_on(a, gradient.times(factors.reshape(-1)))
            return
        table, at = factors.reshape(len(factors), -1), self._last_step(m.index, len(factors))
        self._pass_on(a, at_step(self.builder, gradient, table, at, f"{node.name}.back"))

    def requantize(self, node: Node, gradient: Gradient) -> None:
        """Straight through where nothing was clipped. What is 0 was not clipped if no current is below."""
        (x, *_), (y,), name = node.inputs, node.outputs, node.name
        signed, bits = y.dtype == "int8", node.attributes["bits"]
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        ends = {"low": low - (self.path.ranges[x.place][0] >= 0 and not signed), "high": high}
        self.builder.call("ClampGradient", f"{name}.backward", [gradient.name, self._read(y)], [f"{name}.g"], **ends)
        self.rescale(node, Gradient(f"{name}.g", gradient.unit, gradient.bound, gradient.shape))

    def maximum(self, node: Node, gradient: Gradient) -> None:
        (x,), kernel = node.inputs, node.attributes["kernel_shape"]
        windows = {name: list(node.attributes.get(name, (0, 0, 0, 0))) for name in ("strides", "pads")}
        self.builder.call("BackwardMaxPool2d", f"{node.name}.backward", [gradient.name, self._read(x)],
                          [f"{node.name}.g"], kernel_shape=list(kernel), **windows)  # fmt: skip
        bound = gradient.bound * overlap(node, kernel)
        self._pass_on(x, Gradient(f"{node.name}.g", gradient.unit, bound, x.shape))

    def sum(self, node: Node, gradient: Gradient) -> None:
        (x,), windows = node.inputs, {name: list(node.attributes[name]) for name in ("kernel_shape", "strides", "pads")}
        self.builder.call("BackwardSumPool2d", f"{node.name}.backward", [gradient.name], [f"{node.name}.g"],
                          size=list(x.shape[2:]), **windows)  # fmt: skip
        bound = gradient.bound * overlap(node, windows["kernel_shape"])
        worth = node.attributes.get("M", 1) / 2.0 ** node.attributes.get("shift", 0)
        self._pass_on(x, Gradient(f"{node.name}.g", gradient.unit * worth, bound, x.shape))

    def enlarge(self, node: Node, gradient: Gradient) -> None:
        (x,), places = node.inputs, {axis: list(node.attributes[axis]) for axis in ("rows", "columns")}
        self.builder.call("BackwardUpsample2d", f"{node.name}.backward", [gradient.name], [f"{node.name}.g"],
                          size=list(x.shape[2:]), **places)  # fmt: skip
        bound = gradient.bound * copies(node)
        self._pass_on(x, Gradient(f"{node.name}.g", gradient.unit, bound, x.shape))

    def attention(self, node: Node, gradient: Gradient) -> None:
        """y = score(context)*I: to the current, as it was scaled, and to the context through the score.

        Sums over pixels of g*I stay below 2^52, errors of the score's argument below 2^27 (`AttentionGradient`).
        """
        b, name, (current, context, kernel, table) = self.builder, node.name, node.inputs
        numbers = {key: node.attributes[key] for key in ("pixels", "mean", "mean_shift", "shift")}
        constants = [self._read(context), self._number(kernel), self._number(table)]
        if context.place in self.path.wanted:
            reach = max(map(abs, self.path.ranges[current.place])) * numbers["pixels"]
            coarser = max(1.0, gradient.bound * reach / 2.0**51)
            even = in_unit(b, gradient, gradient.largest_unit * coarser, f"{name}.even")
            sums = even.bound * reach
            sum_shift = max(1, sums.bit_length() - 26)
            most = ((sums >> sum_shift) + 1) * int(np.abs(numpy_helper.to_array(self._factory[kernel.place])).sum())
            growth = 1 if context.place in self.path.shared else self.path.growth[context.place]
            out_shift = max(1, (most // (LIMIT // growth - 2)).bit_length())
            worth = 2.0 ** (sum_shift - 2 + out_shift - 12 - numbers["shift"] - numbers["mean_shift"]) * numbers["mean"]
            b.call("AttentionGradient", f"{name}.backward", [even.name, self._read(current), *constants],
                   [f"{name}.context_g"], **numbers, sum_shift=sum_shift, out_shift=out_shift)  # fmt: skip
            bound = (most >> out_shift) + 1
            self._pass_on(context, Gradient(f"{name}.context_g", even.unit * worth, bound, context.shape))
        b.call("ChannelAttention", f"{name}.scale", [gradient.name, *constants], [f"{name}.g"], **numbers)
        self._pass_on(current, Gradient(f"{name}.g", gradient.unit, gradient.bound, current.shape))

    def delay(self, node: Node, gradient: Gradient) -> None:
        """To the present input alone."""
        x, even = node.inputs[1], uniform(self.builder, gradient, f"{node.name}.even")
        self.builder.call("BackwardDelay", f"{node.name}.backward", [even.name], [f"{node.name}.g"],
                          taps=node.attributes["taps"])  # fmt: skip
        self._pass_on(x, Gradient(f"{node.name}.g", even.unit, even.bound, x.shape))

    def neuron(self, node: Node, gradient: Gradient) -> None:
        """dL/ds -> dL/dm, which is dL/dI."""
        theta, (current,) = threshold(node), error_inputs(node)
        name, layer = theta.place.removesuffix(".theta"), self.path.layers[theta.place]
        spikes = uniform(self.builder, gradient, f"{name}.even")
        if layer.width is not None:
            numbers = {"width": layer.width, "shift": max(1, math.ceil(math.log2(layer.width)))}
            slope = 2.0 ** numbers["shift"] / layer.width**2
        else:
            numbers = {key: node.attributes[key] for key in ("k", "bits")[: 1 + (node.op == "ParallelEMPF")]}
            slope = 2.0 ** -numbers["k"]
        operands = [spikes.name, *self._distance(node), self._number(theta), *map(self._number, node.inputs[4:])]
        self.builder.call(f"{node.op}Gradient", f"{name}.backward", operands, [f"{name}.g"], **numbers)
        membrane = Gradient(f"{name}.g", spikes.unit * slope, spikes.bound, spikes.shape)
        if theta.place in self.path.thresholds:
            self._learn_threshold(theta, layer, membrane)
        self._pass_on(current, membrane)

    def _distance(self, node: Node) -> list[str]:
        """What tells, with the threshold, how far the membranes were from it."""
        if node.op == "LIFClear":
            return [self._read(node.inputs[0]), self._read(node.inputs[1]), self._number(node.inputs[2])]
        if node.op == "ParallelEMPF":
            return [self._read(node.inputs[0])]
        return [self._membrane(node), *([] if node.op == "EMPF" else [self._read(node.outputs[0])])]

    def _number(self, value: Tensor) -> str:
        """That the step has read: a number of the layer, or by channel, of all steps or of that one."""
        factory = numpy_helper.to_array(self._factory[value.place])
        if value.place in self.path.thresholds:
            table = self._updated(value.place, "int32", factory.shape)
        else:
            table = self.builder.constant(value.place, factory)
        if value.index is None:
            return table
        at = self._last_step(value.index, len(factory))
        self.builder.standard("Gather", f"{table}.at", [table, at], [f"{table}.last"], axis=0)
        return f"{table}.last"

    def _last_step(self, index: Tensor, steps: int) -> str:
        """The time index at which the step has read its tables of so many rows."""
        t = index.place
        if f"{t}.last" not in self._known:
            self._known.add(f"{t}.last")
            self.builder.call("LastStep", f"{t}.back", [self._input(t, "int32", [1])], [f"{t}.last"], steps=steps)
        return f"{t}.last"

    def _membrane(self, node: Node) -> str:
        """After the step."""
        v = node.inputs[0]
        return self._input(v.place, v.dtype, v.shape)

    def _learn_threshold(self, theta: Tensor, layer: HiddenLayer, membrane: Gradient) -> None:
        """By the sum of its neurons, of all or of a channel, that is kept to what would move it through its range."""
        name = theta.place.removesuffix(".theta")
        factor = self.rate * membrane.unit / layer.membrane**2 * 2.0**_THRESHOLD_BITS
        range_of = math.ceil(2.0 ** (_THRESHOLD_BITS + 23) / max(float(factor[0]), 1.0))
        limit = min(membrane.bound * math.prod(membrane.shape) // theta.size, range_of)
        m, shift = multiplier(factor, limit, name)
        row = [] if theta.index is None else [self._last_step(theta.index, self._factory[theta.place].dims[0])]
        operands = [theta.place, *row, membrane.name, self.builder.constant(f"{name}.theta_M", m), COUNT]
        self.builder.call(f"LearnThreshold{'At' if row else ''}", f"{name}.descend", operands, [theta.place + NEW],
                          limit=limit, shift=shift, seed=self._next_seed())  # fmt: skip

    def synapse(self, node: Node, gradient: Gradient) -> None:
        if node.inputs[0].place in self.path.wanted:
            self._pass_on(node.inputs[0], self._through_weights(node, gradient))
        if node.inputs[1].place in self.path.weights:
            self._learn_weights(node, self.path.weights[node.inputs[1].place], gradient)

    def _through_weights(self, node: Node, gradient: Gradient) -> Gradient:
        """dL/da -> dL/ds of what the layer reads: scaled by the worth of each output's weights, and summed."""
        (x, weights), name = node.inputs, _name(node)
        binary, geometry = "Binary" in node.op, _geometry(node)
        kernel = node.attributes.get("kernel", weights.shape)
        seen = overlap(node, kernel[2:]) * kernel[0] // geometry["group"] if geometry else kernel[0]
        terms = seen * _LARGEST[binary]
        growth = 1 if x.place in self.path.shared else self.path.growth[x.place]
        scale = 2.0 ** math.floor(math.log2((LIMIT / growth / terms - 2) / gradient.bound))
        even = in_unit(self.builder, gradient, gradient.largest_unit / scale, f"{name}.h")
        attributes = geometry | ({"size": list(x.shape[2:])} if geometry else {})
        attributes |= {"fan_in": node.attributes["fan_in"]} if binary else {}
        attributes |= {"kernel": list(kernel)} if binary and geometry else {}
        function = f"Backward{'Binary' if binary else ''}{'Conv2d' if geometry else 'Linear'}"
        operands = [even.name, self._trained(weights)]
        self.builder.call(function, f"{name}.backward", operands, [f"{name}.g"], **attributes)
        return Gradient(f"{name}.g", even.unit, terms * even.bound, x.shape)

    def _learn_weights(self, node: Node, synapse: Weights, gradient: Gradient) -> None:
        """Descent on real weights, in the unit of the int8 weight or latent that moves."""
        (x, weights), name, latent = node.inputs, _name(node), synapse.latent
        moved = synapse.scale if latent is None else 1 / TRAINED_WEIGHT
        factor = self.rate * gradient.unit / synapse.scale / moved
        peak = float(np.abs(factor).max()) * gradient.bound
        low, high = self.path.ranges[x.place]
        limit = LIMIT // max(-low, high, 1)
        fits, whole = (math.floor(math.log2(most / max(peak, 1.0))) for most in (LIMIT - 1, limit))
        bits = min(_STEP_BITS, fits, max(_ENOUGH_BITS, whole))
        if bits < 1 or 0 < peak * 2.0**bits < 1:
            raise ExportError(
                f"{name}: expected a learning rate whose steps fit 30 bits and reach one unit, got {self.rate:g}; "
                f"choose a {'smaller' if bits < 1 else 'larger'} rate"
            )
        step = scaled(self.builder, gradient, factor * 2.0**bits, f"{name}.q")
        geometry, weight = _geometry(node), self._trained(weights)
        attributes = {"limit": limit, "shift": bits, "seed": self._next_seed()} | geometry
        operands = [self._read(x), step.name, COUNT]
        function = "Conv2d" if geometry else "Linear"
        if latent is None:
            self.builder.call(f"Learn{function}", f"{name}.descend", [weight, *operands], [weight + NEW], **attributes)
            return
        moving = self.builder.constant(_latent(synapse), latent)
        self._updated(moving, "int8", list(latent.shape))
        attributes["fill" if geometry else "pads"] = [0, 0, 0, -math.prod(latent.shape[1:]) % 8]
        self.builder.call(f"LearnBinary{function}", f"{name}.descend", [weight, moving, *operands],
                          [weight + NEW, moving + NEW], **attributes)  # fmt: skip

    def _trained(self, weights: Tensor) -> str:
        """The weights of a layer as an input that is updated, or as a constant where they do not learn."""
        name = weights.place
        if name not in self._known:
            if name in self.path.weights:
                self._updated(name, weights.dtype, weights.shape)
            else:
                self.builder.constant(name, numpy_helper.to_array(self._factory[name]))
            self._known.add(name)
        return name

    def _read(self, value: Tensor) -> str:
        """What the step kept of a value, in the shape in which it was read."""
        made = self.path.made[value.place]
        name = self._input(_kept(made), made.dtype, made.shape)
        if value.shape == made.shape:
            return name
        if f"{name}.flat" not in self._known:
            self._known.add(f"{name}.flat")
            self.builder.standard("Flatten", f"{name}.flatten", [name], [f"{name}.flat"], axis=1)
        return f"{name}.flat"

    def _input(self, name: str, dtype: str, shape: Sequence[int]) -> str:
        if name not in self._known:
            self._known.add(name)
            self.builder.input(name, dtype, [*shape])
        return name

    def _updated(self, name: str, dtype: str, shape: Sequence[int]) -> str:
        self.builder.output(name + NEW, dtype, [*shape])
        return self._input(name, dtype, shape)

    def _next_seed(self) -> int:
        self._seeds += 1
        return (self.numbers["seed"] + self._seeds * _SEED_STEP) % 2**32


def _name(synapse: Node) -> str:
    """The layer of a synapse."""
    return synapse.inputs[1].place.removesuffix(".weight")


def _geometry(synapse: Node) -> dict[str, Any]:
    """Windows of a convolution, in attributes of the functions of learning; none of a linear layer."""
    if synapse.op.endswith("Linear"):
        return {}
    given: dict[str, Any] = {"dilations": [1, 1], "group": 1} | synapse.attributes
    return {name: list(given[name]) for name in ("strides", "pads", "dilations")} | {"group": given["group"]}


#: What becomes of the error of a node's output.
_HANDLERS: dict[str, Callable[[_LearnGraph, Node, Gradient], None]] = {
    **dict.fromkeys(SYNAPSES, _LearnGraph.synapse),
    **dict.fromkeys(MAXIMA, _LearnGraph.maximum),
    **dict.fromkeys(SUMS, _LearnGraph.sum),
    **dict.fromkeys(NEURONS, _LearnGraph.neuron),
    **dict.fromkeys(("Widen", "Add"), _LearnGraph.same),
    "Rescale": _LearnGraph.rescale,
    "Requantize": _LearnGraph.requantize,
    "Upsample2d": _LearnGraph.enlarge,
    "ChannelAttention": _LearnGraph.attention,
    "Delay": _LearnGraph.delay,
}
