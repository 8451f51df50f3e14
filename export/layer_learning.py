"""Learning graphs of the scopes that go beyond the readout: SLTT at the current step, in integers.

Shapes: O outputs and C inputs of a layer. A gradient is an integer with a real value of one unit. All factors between
units are chosen here, so that no sum or product leaves its type (docs/learning-layers.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgesnn.errors import ExportError
from edgesnn.export.bounds import TRAINED_WEIGHT
from edgesnn.export.builder import GraphBuilder
from edgesnn.export.c_graph import Node, Tensor
from edgesnn.export.error_passes import PASSES
from edgesnn.export.error_path import NEURONS, SYNAPSES, ErrorPath, error_inputs, overlap, threshold
from edgesnn.export.fixed_point import Q15, multiplier
from edgesnn.export.gradient import LIMIT, Gradient, in_unit, scaled, uniform
from edgesnn.export.learn import BIAS, COUNT, WEIGHT, error_operands
from edgesnn.export.learn import learn_spec as readout_spec
from edgesnn.export.learn import trace_limit as readout_trace_limit
from edgesnn.export.learning_graph import LearningGraph, kept
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
        state = builder.state(kept(value), value.shape[1:], dtype=value.dtype)
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
    graph = LearningGraph(step, path, rate, spec.numbers)
    _learn_all(graph, readout, scale)
    return graph.builder.build("learn", metadata, "One learning step at the current time step, layer by layer.")


def _writer(builder: GraphBuilder, name: str) -> int:
    """The number of the node that writes a value; -1 for an input."""
    return next((i for i, node in enumerate(builder.nodes) if name in node.output), -1)


def _latent(synapse: Weights) -> str:
    return f"{synapse.name.removesuffix('.weight')}.latent"


def _learn_all(graph: LearningGraph, readout: ReadoutLayer, scale: TraceScale) -> None:
    """All nodes, from the readout down. A layer's weights are read for the backward before its update writes them."""
    b, path = graph.builder, graph.path
    classes, inputs = readout.classes, readout.spikes.shape[0]
    for name, dtype, shape in (
        (WEIGHT, "int8", [classes, inputs]), (BIAS, "int32", [classes]), (COUNT, "int32", [1])
    ):  # fmt: skip
        graph.updated(name, dtype, shape)
    graph.input(TRACE, "int32", [1, inputs])
    graph.input("label", "int32", [1])
    operands, shift = error_operands(b, readout, scale)
    b.call("ReadoutError", "readout.error", operands, ["readout.e"], shift=shift)
    b.call("BackwardLinear", "readout.backward", ["readout.e", WEIGHT], ["readout.g"])
    # Probabilities add up to 2^15 and the label's is 2^15 at most, so that all errors together are 2^16 at most.
    unit = np.array([readout.unit / Q15])
    graph.pass_on(path.source, Gradient("readout.g", unit, TRAINED_WEIGHT * 2 * Q15, path.source.shape))
    for node in reversed(path.nodes):
        _HANDLERS[node.op](graph, node, graph.error_of(path.made[node.outputs[0].place]))
    b.call("LearnLinear", "readout.descend", [WEIGHT, TRACE, "readout.e", COUNT], [WEIGHT + NEW],
           limit=Q15, shift=graph.numbers["weight_shift"], seed=graph.next_seed())  # fmt: skip
    b.call("LearnBias", "readout.offset", [BIAS, "readout.e", COUNT], [BIAS + NEW, COUNT + NEW],
           shift=graph.numbers["bias_shift"], seed=graph.next_seed())  # fmt: skip


def _neuron(graph: LearningGraph, node: Node, gradient: Gradient) -> None:
    """dL/ds -> dL/dm, which is dL/dI."""
    theta, (current,) = threshold(node), error_inputs(node)
    name, layer = theta.place.removesuffix(".theta"), graph.path.layers[theta.place]
    spikes = uniform(graph.builder, gradient, f"{name}.even")
    if layer.width is not None:
        numbers = {"width": layer.width, "shift": max(1, math.ceil(math.log2(layer.width)))}
        slope = 2.0 ** numbers["shift"] / layer.width**2
    else:
        numbers = {key: node.attributes[key] for key in ("k", "bits")[: 1 + (node.op == "ParallelEMPF")]}
        slope = 2.0 ** -numbers["k"]
    operands = [spikes.name, *_distance(graph, node), graph.number(theta), *map(graph.number, node.inputs[4:])]
    graph.builder.call(f"{node.op}Gradient", f"{name}.backward", operands, [f"{name}.g"], **numbers)
    membrane = Gradient(f"{name}.g", spikes.unit * slope, spikes.bound, spikes.shape)
    if theta.place in graph.path.thresholds:
        _learn_threshold(graph, theta, layer, membrane)
    graph.pass_on(current, membrane)


def _distance(graph: LearningGraph, node: Node) -> list[str]:
    """What tells, with the threshold, how far the membranes were from it."""
    if node.op == "LIFClear":
        return [graph.read(node.inputs[0]), graph.read(node.inputs[1]), graph.number(node.inputs[2])]
    if node.op == "ParallelEMPF":
        return [graph.read(node.inputs[0])]
    return [_membrane(graph, node), *([] if node.op == "EMPF" else [graph.read(node.outputs[0])])]


def _membrane(graph: LearningGraph, node: Node) -> str:
    """After the step."""
    v = node.inputs[0]
    return graph.input(v.place, v.dtype, v.shape)


def _learn_threshold(graph: LearningGraph, theta: Tensor, layer: HiddenLayer, membrane: Gradient) -> None:
    """By the sum of its neurons, of all or of a channel, that is kept to what would move it through its range."""
    name = theta.place.removesuffix(".theta")
    factor = graph.rate * membrane.unit / layer.membrane**2 * 2.0**_THRESHOLD_BITS
    range_of = math.ceil(2.0 ** (_THRESHOLD_BITS + 23) / max(float(factor[0]), 1.0))
    limit = min(membrane.bound * math.prod(membrane.shape) // theta.size, range_of)
    m, shift = multiplier(factor, limit, name)
    row = [] if theta.index is None else [graph.last_step(theta.index, len(graph.factory(theta)))]
    operands = [theta.place, *row, membrane.name, graph.builder.constant(f"{name}.theta_M", m), COUNT]
    graph.builder.call(f"LearnThreshold{'At' if row else ''}", f"{name}.descend", operands, [theta.place + NEW],
                       limit=limit, shift=shift, seed=graph.next_seed())  # fmt: skip


def _synapse(graph: LearningGraph, node: Node, gradient: Gradient) -> None:
    if node.inputs[0].place in graph.path.wanted:
        graph.pass_on(node.inputs[0], _through_weights(graph, node, gradient))
    if node.inputs[1].place in graph.path.weights:
        _learn_weights(graph, node, graph.path.weights[node.inputs[1].place], gradient)


def _through_weights(graph: LearningGraph, node: Node, gradient: Gradient) -> Gradient:
    """dL/da -> dL/ds of what the layer reads: scaled by the worth of each output's weights, and summed."""
    (x, weights), name = node.inputs, _name(node)
    binary, geometry = "Binary" in node.op, _geometry(node)
    kernel = node.attributes.get("kernel", weights.shape)
    seen = overlap(node, kernel[2:]) * kernel[0] // geometry["group"] if geometry else kernel[0]
    terms = seen * _LARGEST[binary]
    growth = 1 if x.place in graph.path.shared else graph.path.growth[x.place]
    scale = 2.0 ** math.floor(math.log2((LIMIT / growth / terms - 2) / gradient.bound))
    even = in_unit(graph.builder, gradient, gradient.largest_unit / scale, f"{name}.h")
    attributes = geometry | ({"size": list(x.shape[2:])} if geometry else {})
    attributes |= {"fan_in": node.attributes["fan_in"]} if binary else {}
    attributes |= {"kernel": list(kernel)} if binary and geometry else {}
    function = f"Backward{'Binary' if binary else ''}{'Conv2d' if geometry else 'Linear'}"
    operands = [even.name, graph.trained(weights)]
    graph.builder.call(function, f"{name}.backward", operands, [f"{name}.g"], **attributes)
    return Gradient(f"{name}.g", even.unit, terms * even.bound, x.shape)


def _learn_weights(graph: LearningGraph, node: Node, synapse: Weights, gradient: Gradient) -> None:
    """Descent on real weights, in the unit of the int8 weight or latent that moves."""
    (x, weights), name, latent = node.inputs, _name(node), synapse.latent
    moved = synapse.scale if latent is None else 1 / TRAINED_WEIGHT
    factor = graph.rate * gradient.unit / synapse.scale / moved
    peak = float(np.abs(factor).max()) * gradient.bound
    low, high = graph.path.ranges[x.place]
    limit = LIMIT // max(-low, high, 1)
    fits, whole = (math.floor(math.log2(most / max(peak, 1.0))) for most in (LIMIT - 1, limit))
    bits = min(_STEP_BITS, fits, max(_ENOUGH_BITS, whole))
    if bits < 1 or 0 < peak * 2.0**bits < 1:
        raise ExportError(
            f"{name}: expected a learning rate whose steps fit 30 bits and reach one unit, got {graph.rate:g}; "
            f"choose a {'smaller' if bits < 1 else 'larger'} rate"
        )
    step = scaled(graph.builder, gradient, factor * 2.0**bits, f"{name}.q")
    geometry, weight = _geometry(node), graph.trained(weights)
    attributes = {"limit": limit, "shift": bits, "seed": graph.next_seed()} | geometry
    operands = [graph.read(x), step.name, COUNT]
    function = "Conv2d" if geometry else "Linear"
    if latent is None:
        graph.builder.call(f"Learn{function}", f"{name}.descend", [weight, *operands], [weight + NEW], **attributes)
        return
    moving = graph.builder.constant(_latent(synapse), latent)
    graph.updated(moving, "int8", list(latent.shape))
    attributes["fill" if geometry else "pads"] = [0, 0, 0, -math.prod(latent.shape[1:]) % 8]
    graph.builder.call(f"LearnBinary{function}", f"{name}.descend", [weight, moving, *operands],
                       [weight + NEW, moving + NEW], **attributes)  # fmt: skip


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
_HANDLERS: dict[str, Callable[[LearningGraph, Node, Gradient], None]] = PASSES | {
    **dict.fromkeys(SYNAPSES, _synapse),
    **dict.fromkeys(NEURONS, _neuron),
}
