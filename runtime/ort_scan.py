"""Scans, and the reshapes around them, for ONNX Runtime: their bodies get the faster operators too.

What enters a body, and what goes from step to step, keeps the form that it has: of a current, the sums before they are
rescaled; of a membrane, the floats that the next step starts from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgesnn.runtime.ort_values import Form, Rewriter

#: Replaces the nodes of the graph that a rewriter was made for.
RewriteNodes = Callable[[Rewriter], None]
#: Forms of the layout that the graph has, those that cost least first, and their types (None: as the graph has it).
_TYPES = {
    Form.PLAIN: None,
    Form.BELOW: TensorProto.FLOAT,
    Form.REAL: TensorProto.FLOAT,
    Form.WIDE: TensorProto.DOUBLE,
    Form.OFFSET: TensorProto.DOUBLE,
}


@dataclass(frozen=True)
class _Held:
    """A value in one form; of BELOW, with the threshold."""

    form: Form
    threshold: float = 0.0


def reshape(graph: Rewriter, node: onnx.NodeProto) -> None:
    """Time steps out of the batch, or into it; like a Split, of the sums of images that are yet to be rescaled."""
    (source, target), name = node.input, node.output[0]
    moved, scaled = name, graph.scaled.get(source)
    if scaled is not None and len(graph.shapes.get(source, ())) == 4:
        source, moved = scaled.source, f"{name}.a"
    elif scaled is not None:
        graph.get(source, Form.OFFSET)
    form = _form(graph, source)
    graph.put(moved, form, graph.one("Reshape", graph.get(source, form), graph.get(target, Form.PLAIN)))
    graph.share(name, node.input[0])
    if scaled is not None:
        graph.scaled[name] = replace(scaled, source=moved)


def scan(graph: Rewriter, node: onnx.NodeProto, rewrite_nodes: RewriteNodes) -> None:
    """The Scan with another body. It is rewritten twice: first to see in which form each state is left."""
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    body, states = attributes["body"], len(node.input) - attributes["num_scan_inputs"]
    first = _rewritten(graph, node, body, [_Held(Form.PLAIN)] * states, rewrite_nodes)
    kept = [_held(first, entry.name) for entry in body.output[:states]]
    inner = _rewritten(graph, node, body, kept, rewrite_nodes)
    left = [*kept, *(_held(inner, entry.name) for entry in body.output[states:])]

    operands = [_as(graph, name, held) for name, held in zip(node.input, kept, strict=False)]
    operands += [graph.get(*_entering(graph, name)) for name in node.input[states:]]
    forms = [held.form for held in kept] + [_entering(graph, name)[1] for name in node.input[states:]]
    inputs = [_info(entry, entry.name, form) for entry, form in zip(body.input, forms, strict=True)]
    taken = {entry.name for entry in body.input}
    outputs = []
    for entry, held in zip(body.output, left, strict=True):
        tensor = _as(inner, entry.name, held)
        if tensor in taken:
            tensor = inner.one("Identity", tensor)
        taken.add(tensor)
        outputs.append(_info(entry, tensor, held.form))
    initializers = list(inner.initializers.values())
    results = graph.add(
        "Scan", operands, outputs=len(outputs), num_scan_inputs=attributes["num_scan_inputs"],
        body=helper.make_graph(inner.nodes, body.name, inputs, outputs, initializers),
    )  # fmt: skip
    for name, entry, held, result in zip(node.output, body.output, left, results, strict=True):
        graph.put(name, held.form, result)
        if held.form is Form.BELOW:
            graph.thresholds[name] = held.threshold
        if entry.name in inner.high:
            graph.high[name] = inner.high[entry.name]


def _rewritten(
    graph: Rewriter, node: onnx.NodeProto, body: onnx.GraphProto, states: list[_Held], rewrite_nodes: RewriteNodes
) -> Rewriter:
    """The nodes of a body whose states come in these forms."""
    local = {entry.name for entry in body.input} | {name for part in body.node for name in part.output}
    captured = {name for part in body.node for name in part.input if name} - local
    inner = Rewriter(_alone(graph, body, captured), f"{graph.prefix}.{len(graph.nodes)}")
    for entry, held in zip(body.input, states, strict=False):
        inner.put(entry.name, held.form, entry.name)
        if held.form is Form.BELOW:
            inner.thresholds[entry.name] = held.threshold
    for entry, name in zip(body.input[len(states) :], node.input[len(states) :], strict=True):
        value, form = _entering(graph, name)
        inside = entry.name if value == name else f"{entry.name}.a"
        inner.put(inside, form, entry.name)
        inner.share(entry.name, name, graph)
        if name in graph.scaled:
            inner.scaled[entry.name] = replace(graph.scaled[name], source=inside)
    for name in captured - graph.constants.keys():
        if name in graph.scaled:
            graph.get(name, Form.OFFSET)  # once, and not at every step
        inner.share(name, name, graph)
        for form, tensor in graph.forms(name).items():
            inner.put(name, form, tensor)
    rewrite_nodes(inner)
    return inner


def _alone(graph: Rewriter, body: onnx.GraphProto, captured: set[str]) -> onnx.ModelProto:
    """A body as a graph of its own, which takes what it captures as inputs and constants."""
    made = onnx.ModelProto()
    made.CopyFrom(graph.proto)
    made.graph.CopyFrom(body)
    made.graph.initializer.extend(
        init for init in graph.proto.graph.initializer if init.name in captured & graph.constants.keys()
    )
    for name in sorted(captured - graph.constants.keys()):
        made.graph.input.append(helper.make_tensor_value_info(name, graph.types[name], graph.shapes.get(name)))
    return made


def _entering(graph: Rewriter, name: str) -> tuple[str, Form]:
    """What crosses into a body for a stream, and its form: sums of a rescale that was put off, or the value itself."""
    scaled = graph.scaled.get(name)
    value = scaled.source if scaled is not None and Form.OFFSET not in graph.forms(name) else name
    return value, _form(graph, value)


def _form(graph: Rewriter, name: str) -> Form:
    """The form that costs least of those that there are, of the layout that the graph has."""
    known = graph.forms(name)
    return next((form for form in _TYPES if form in known), Form.PLAIN)


def _held(graph: Rewriter, name: str) -> _Held:
    return _Held(_form(graph, name), graph.thresholds.get(name, 0.0))


def _as(graph: Rewriter, name: str, held: _Held) -> str:
    """The tensor of a value in this form."""
    if held.form is Form.BELOW and Form.BELOW not in graph.forms(name):
        return graph.one("Sub", graph.get(name, Form.REAL), graph.constant(np.float32(held.threshold)))
    return graph.get(name, held.form)


def _info(entry: onnx.ValueInfoProto, name: str, form: Form) -> onnx.ValueInfoProto:
    """An input or output of a body in this form."""
    made = onnx.ValueInfoProto()
    made.CopyFrom(entry)
    made.name = name
    made.type.tensor_type.elem_type = _TYPES[form] or entry.type.tensor_type.elem_type
    return made
