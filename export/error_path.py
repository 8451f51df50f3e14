"""Where an error goes: the nodes of a step from the readout back to the first layer that learns.

The temporal terms are dropped (SLTT eq. 12-13), so that no error goes into a state.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from onnx import helper

from edgesnn.errors import ExportError
from edgesnn.export.bounds import Interval, intervals
from edgesnn.export.builder import GraphBuilder
from edgesnn.export.c_graph import Node, Tensor, read
from edgesnn.export.c_ops import INFER
from edgesnn.export.learn import WEIGHT
from edgesnn.export.lower import HiddenLayer
from edgesnn.export.lower.values import Weights
from edgesnn.export.scopes import Scope
from edgesnn.runtime.model import PersistentTensor

SYNAPSES = ("Linear", "BinaryLinear", "Conv2d", "BinaryConv2d", "GroupedConv2d", "GroupedBinaryConv2d")
MAXIMA, SUMS = ("MaxPool2d", "PaddedMaxPool2d"), ("SumPool2d", "AveragePool2d")
NEURONS = ("EMPF", "ParallelEMPF", "LIF", "LIFDrop", "LIFClear")
#: Functions that an error passes, and the inputs that it goes to.
_PASSES: dict[str, Sequence[int]] = {
    **dict.fromkeys((*SYNAPSES, *MAXIMA, *SUMS, "Upsample2d", "Rescale", "Requantize", "Widen", "ParallelEMPF"), (0,)),
    **dict.fromkeys(("EMPF", "LIF", "LIFDrop", "LIFClear", "Delay"), (1,)),
    **dict.fromkeys(("Add", "ChannelAttention"), (0, 1)),
}
#: Those that it does not, and what depends on a layer before them.
_STOPS: dict[str, Sequence[int]] = {
    **dict.fromkeys(("PackedLinear", "PackedConv2d"), (0,)),
}
#: A linear layer that learns has fewer inputs: its kernel counts them in 16 bits.
_MOST_INPUTS = 2**16


@dataclass(frozen=True)
class ErrorPath:
    """nodes: those that an error reaches, in the order of the step. source: what the readout reads. wanted: the values
    whose gradient is computed. shared: those that several nodes read. growth: how many times the largest error of a
    value those may be that follow from it, until they are scaled anew. made: every value as its writer made it. ranges:
    of every value. layers: all hidden ones, by the name of their threshold.
    """

    nodes: tuple[Node, ...]
    source: Tensor
    wanted: frozenset[str]
    shared: frozenset[str]
    growth: Mapping[str, int]
    made: Mapping[str, Tensor]
    ranges: Mapping[str, Interval]
    weights: Mapping[str, Weights]  # that learn, by name
    thresholds: Set[str]  # names of those that learn
    layers: Mapping[str, HiddenLayer]

    @property
    def kept(self) -> tuple[Tensor, ...]:
        """What a step keeps for learning: inputs of synapses that learn, and what tells where an error goes."""
        return tuple(
            {value.place: self.made[value.place] for node in self.nodes for value in self._kept(node)}.values()
        )

    def _kept(self, node: Node) -> Sequence[Tensor]:
        if node.op in SYNAPSES:
            return node.inputs[:1] if node.inputs[1].place in self.weights else ()
        if node.op in MAXIMA or node.op == "ParallelEMPF":
            return node.inputs[:1]
        if node.op in ("LIFClear", "ChannelAttention"):  # of the membrane of a neuron that fired, nothing is left
            return node.inputs[:2]
        return node.outputs[:1] if node.op in ("LIF", "LIFDrop", "Requantize") else ()


def error_path(builder: GraphBuilder, hidden: Sequence[HiddenLayer], scope: Scope) -> ErrorPath:
    """The path through the nodes of a step whose last layers learn.

    Raises:
        ExportError: something on it that an error cannot go back through in integers.
    """
    thresholds = {f"{layer.name}.theta" for layer in _last(hidden, scope.thresholds) if layer.learns}
    weights = {synapse.name: synapse for layer in _last(hidden, scope.weights) for synapse in layer.synapses}
    step = helper.make_graph(builder.nodes, "step", builder.inputs, builder.outputs, builder.initializers)
    kept = [PersistentTensor(**{**tensor, "shape": tuple(tensor["shape"])}, offset=0) for tensor in builder.tensors]
    nodes = read(step, kept, INFER).nodes
    depends: set[str] = set()
    for node in nodes:
        learns = {value.place for value in node.inputs} & (weights.keys() | thresholds)
        if learns or any(x.place in depends for x in error_inputs(node)):
            depends.add(node.outputs[0].place)
    source = next(node.inputs[0] for node in nodes if any(value.place == WEIGHT for value in node.inputs))
    reached, found = {source.place}, []
    for node in reversed(nodes):
        if error_inputs(node) and node.outputs[0].place in reached & depends:
            found.append(node)
            reached |= {x.place for x in error_inputs(node)}
    passed, wanted = tuple(reversed(found)), frozenset(reached & depends)
    readers = Counter([source.place, *(x.place for node in passed for x in error_inputs(node))])
    shared = frozenset(place for place, count in readers.items() if count > 1)
    path = ErrorPath(
        passed, source, wanted, shared, _growth(passed, wanted - shared), _made(builder, nodes),
        intervals(helper.make_model(step)), weights, thresholds, {f"{layer.name}.theta": layer for layer in hidden},
    )  # fmt: skip
    for node in reversed(path.nodes):
        _check(path, node)
    return path


def error_inputs(node: Node) -> tuple[Tensor, ...]:
    """The inputs whose errors follow from that of the node's first output."""
    return tuple(node.inputs[i] for i in (_PASSES | _STOPS).get(node.op, ()))


def threshold(neuron: Node) -> Tensor:
    """Of a node of `NEURONS`."""
    return neuron.inputs[1 if neuron.op == "ParallelEMPF" else 3]


def copies(upsample: Node) -> int:
    """How many places a pixel goes to, at most."""
    return math.prod(max(Counter(upsample.attributes[axis]).values()) for axis in ("rows", "columns"))


def overlap(node: Node, kernel: Sequence[int]) -> int:
    """How many windows of a convolution or pooling see a pixel, at most."""
    dilations, places = node.attributes.get("dilations", (1, 1)), node.outputs[0].shape[2:]
    sides = zip(kernel, node.attributes["strides"], dilations, places, strict=True)
    return math.prod(min(-(-side * math.gcd(step, gap) // step), count) for side, step, gap, count in sides)


def _growth(nodes: Sequence[Node], alone: Set[str]) -> dict[str, int]:
    """Errors of a synapse are scaled when they are summed, those of several readers when they are added: what goes on
    without is `alone`.
    """
    growth: dict[str, int] = {}
    for node in nodes:
        further = [growth[x.place] for x in error_inputs(node) if x.place in alone]
        times = overlap(node, node.attributes["kernel_shape"]) if node.op in (*MAXIMA, *SUMS) else 1
        times = copies(node) if node.op == "Upsample2d" else times
        growth[node.outputs[0].place] = 1 if node.op in SYNAPSES else max(further, default=1) * times
    return growth


def _made(builder: GraphBuilder, nodes: Sequence[Node]) -> dict[str, Tensor]:
    given = {}
    for entry in builder.inputs:
        kind = entry.type.tensor_type
        shape = tuple(dim.dim_value or 1 for dim in kind.shape.dim)
        dtype = str(helper.tensor_dtype_to_np_dtype(kind.elem_type))
        given[entry.name] = Tensor("input", entry.name, dtype, shape)
    return given | {node.outputs[0].place: node.outputs[0] for node in nodes if node.outputs[0].kind == "value"}


def _last(hidden: Sequence[HiddenLayer], count: int) -> Sequence[HiddenLayer]:
    return hidden[len(hidden) - count :]


def _check(path: ErrorPath, node: Node) -> None:
    """Refuse a node that an error cannot go back through, or that cannot learn."""
    layer = node.name.rpartition(".")[0] or node.name
    if node.op in _STOPS:
        raise ExportError(
            f"{layer}: expected synapses of 1 or 8 bits, neurons, poolings and sums behind the first layer that "
            f"learns, got {node.op}; learn fewer layers: last:N, or the readout alone"
        )
    if node.op.endswith("Linear") and node.inputs[1].place in path.weights and node.inputs[0].size >= _MOST_INPUTS:
        raise ExportError(
            f"{layer}: expected fewer than {_MOST_INPUTS} inputs of a layer that learns, got {node.inputs[0].size}; "
            "learn fewer layers: last:N"
        )
