"""A graph of the function library as ONNX Runtime runs it fastest: the same integers from other operators.

The bodies of the functions define the arithmetic, and every backend could run them. Before ONNX Runtime opens a graph,
the nodes it has faster operators for are replaced here; what this module does not know stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import onnx
from onnx import helper

from edgesnn.runtime import ort_neurons, ort_pooling, ort_scan, ort_synapses
from edgesnn.runtime.ort_values import CONTRIB, Form, Rewriter

_DOMAIN = "edgesnn"
_Rule = Callable[[Rewriter, onnx.NodeProto, ort_synapses.Attributes], bool]
_WINDOWS = {"strides", "pads"}
_GROUPS = {*_WINDOWS, "dilations", "group"}
_POOL = {*_WINDOWS, "kernel_shape"}
#: For each function, what replaces it, and the attributes that it knows.
_RULES: dict[str, tuple[_Rule, set[str]]] = {
    "Linear": (ort_synapses.linear, set()),
    "BinaryLinear": (ort_synapses.linear, {"fan_in"}),
    "PackedLinear": (ort_synapses.linear, {"fan_in", "bits"}),
    "Conv2d": (ort_synapses.conv2d, _WINDOWS),
    "BinaryConv2d": (ort_synapses.conv2d, {*_WINDOWS, "fan_in", "kernel"}),
    "GroupedConv2d": (ort_synapses.conv2d, _GROUPS),
    "GroupedBinaryConv2d": (ort_synapses.conv2d, {*_GROUPS, "fan_in", "kernel"}),
    "PackedConv2d": (ort_synapses.conv2d, {*_GROUPS, "fan_in", "bits", "kernel"}),
    "MaxPool2d": (ort_pooling.max_pool2d, {"kernel_shape", "strides"}),
    "PaddedMaxPool2d": (ort_pooling.max_pool2d, _POOL),
    "SumPool2d": (ort_pooling.sum_pool2d, _POOL),
    "AveragePool2d": (ort_pooling.average_pool2d, {*_POOL, "M", "shift"}),
    "Rescale": (ort_neurons.rescale, {"shift"}),
    "Requantize": (ort_neurons.requantize, {"shift", "bits", "to"}),
    "Widen": (ort_neurons.widen, set()),
    "Add": (ort_neurons.add, set()),
    "EMPF": (ort_neurons.empf, {"k", "bits"}),
    "ParallelEMPF": (ort_neurons.parallel_empf, {"k", "bits"}),
    "LIF": (ort_neurons.lif, set()),
    "LIFDrop": (ort_neurons.lif, set()),
    "LIFClear": (ort_neurons.lif_clear, set()),
    "LeakyIntegrate": (ort_neurons.leaky_integrate, set()),
}


def rewrite(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same inputs, outputs and integers, with operators that ONNX Runtime is fast at."""
    graph = Rewriter(proto)
    _rewrite_nodes(graph)
    for entry in proto.graph.output:
        graph.nodes.append(helper.make_node("Identity", [graph.get(entry.name, Form.PLAIN)], [entry.name]))
    return _assemble(proto, graph)


def _rewrite_nodes(graph: Rewriter) -> None:
    for node in graph.proto.graph.node:
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        rule, known = _RULES.get(node.op_type, (None, set())) if node.domain == _DOMAIN else (None, set())
        if rule is not None and set(attributes) <= known and rule(graph, node, attributes):
            continue
        if node.op_type == "Identity":
            graph.alias(node.output[0], node.input[0])
        elif node.op_type == "Split" and node.domain == "":
            _split(graph, node)
        elif node.op_type == "Concat" and node.domain == "":
            _concat(graph, node)
        elif node.op_type == "Reshape" and node.domain == "":
            ort_scan.reshape(graph, node)
        elif node.op_type == "Scan" and node.domain == "":
            ort_scan.scan(graph, node, _rewrite_nodes)
        else:
            _keep(graph, node)


def _keep(graph: Rewriter, node: onnx.NodeProto) -> None:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    del copied.input[:], copied.output[:]
    copied.input.extend(graph.get(name, Form.PLAIN) if name else "" for name in node.input)
    copied.output.extend(f"kept.{name}" if name else "" for name in node.output)
    graph.nodes.append(copied)
    for name in node.output:
        graph.put(name, Form.PLAIN, f"kept.{name}")


def _split(graph: Rewriter, node: onnx.NodeProto) -> None:
    """The steps of a window. Of a rescale that was put off, its accumulator is split, where it is an image: moving sums
    costs half of moving currents; in small vectors each node counts, so that they are rescaled before.
    """
    source, parts = node.input[0], list(node.output)
    scaled = graph.scaled.get(source)
    if scaled is not None and len(graph.shapes.get(source, ())) == 4:
        source, parts = scaled.source, [f"{name}.a" for name in parts]
    elif scaled is not None:
        graph.get(source, Form.OFFSET)
    form, tensor = next(iter(graph.forms(source).items()))
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    pieces = graph.add("Split", [tensor], outputs=len(parts), **attributes)
    for name, part, piece in zip(node.output, parts, pieces, strict=True):
        graph.put(part, form, piece)
        graph.shapes[part] = graph.shapes.get(name, ())
        graph.share(name, node.input[0])
        if scaled is not None:
            graph.scaled[name] = replace(scaled, source=part)


def _concat(graph: Rewriter, node: onnx.NodeProto) -> None:
    """The steps of a window again, before they are cast."""
    forms = [graph.forms(name) for name in node.input]
    form = Form.WIDE if all(Form.PLAIN not in known and Form.WIDE in known for known in forms) else Form.PLAIN
    tensors = [graph.get(name, form) for name in node.input]
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    graph.put(node.output[0], form, graph.one("Concat", *tensors, **attributes))
    if all(name in graph.high for name in node.input):
        graph.high[node.output[0]] = max(graph.high[name] for name in node.input)


def _assemble(proto: onnx.ModelProto, graph: Rewriter) -> onnx.ModelProto:
    used = set(_read(graph.nodes))
    inputs = {entry.name for entry in proto.graph.input}
    initializers = [init for init in proto.graph.initializer if init.name in used or init.name in inputs]
    initializers += [init for name, init in graph.initializers.items() if name in used]
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    made.graph.CopyFrom(
        helper.make_graph(graph.nodes, proto.graph.name, proto.graph.input, proto.graph.output, initializers)
    )
    made.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    return made


def _read(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """What nodes read, in their bodies too."""
    for node in nodes:
        yield from node.input
        for entry in node.attribute:
            yield from _read(entry.g.node)
