"""The unrolled neurons of a window as one node each, so that a membrane stays in a register over all time steps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import onnx
from onnx import helper

_NEURONS = ("EMPF", "LIF", "LeakyIntegrate")


def merge_steps(graph: onnx.GraphProto, joins: Callable[[onnx.NodeProto], bool]) -> list[onnx.NodeProto]:
    """The graph's nodes; where a Concat joins the outputs of a chain of equal neurons, whose currents a Split gives or
    are one and the same, all of them become one neuron. Its current is that of all steps, or the one. Chains of another
    kind, and neurons that the caller does not join, stay as they are.
    """
    nodes = list(graph.node)
    links = _Links(nodes, {entry.name for entry in graph.output})
    dropped: set[int] = set()
    merged: dict[int, onnx.NodeProto] = {}
    for concat in nodes:
        neurons = links.chain(concat)
        if neurons is None or not joins(neurons[0]):
            continue
        split = links.split(neurons)
        whole = onnx.NodeProto()
        whole.CopyFrom(neurons[0])
        whole.input[1] = split.input[0] if split else neurons[0].input[1]
        del whole.output[:]
        whole.output.extend([concat.output[0], neurons[-1].output[-1]])
        dropped |= {id(node) for node in (*([split] if split else []), *neurons[:-1], concat)}
        merged[id(neurons[-1])] = whole
    return [merged.get(id(node), node) for node in nodes if id(node) not in dropped]


class _Links:
    """Who writes and who reads each value."""

    def __init__(self, nodes: list[onnx.NodeProto], outputs: set[str]) -> None:
        self.outputs = outputs
        self.writers = {name: node for node in nodes for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def chain(self, concat: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """The neurons whose outputs a Concat joins."""
        if concat.op_type != "Concat" or any(name not in self.writers for name in concat.input):
            return None
        neurons = [self.writers[name] for name in concat.input]
        first = neurons[0]
        if first.op_type not in _NEURONS or [node.output[0] for node in neurons] != list(concat.input):
            return None
        if any(not _alike(first, other) for other in neurons):
            return None
        if self.split(neurons) is None and len({node.input[1] for node in neurons}) > 1:
            return None
        for before, after in pairwise(neurons):
            known = {id(after), id(concat)}
            read = [node for name in before.output for node in self.readers.get(name, [])]
            if after.input[0] != before.output[-1] or any(id(node) not in known for node in read):
                return None
        spikes, state = neurons[-1].output[0], neurons[-1].output[-1]
        if spikes != state and any(node is not concat for node in self.readers[spikes]):
            return None  # they are lost in the whole; the last state is not
        inner = {name for node in neurons[:-1] for name in node.output}
        return None if inner & self.outputs else neurons

    def split(self, neurons: list[onnx.NodeProto]) -> onnx.NodeProto | None:
        """The Split that gives each neuron its current, and nothing to others."""
        currents = [node.input[1] for node in neurons]
        writer = self.writers.get(currents[0])
        alone = all(len(self.readers[name]) == 1 for name in currents)
        return writer if writer and writer.op_type == "Split" and list(writer.output) == currents and alone else None


def _alike(one: onnx.NodeProto, other: onnx.NodeProto) -> bool:
    """Whether two neurons differ by nothing but state and current."""
    attributes = [{entry.name: helper.get_attribute_value(entry) for entry in node.attribute} for node in (one, other)]
    return (
        one.op_type == other.op_type and list(one.input[2:]) == list(other.input[2:]) and attributes[0] == attributes[1]
    )
