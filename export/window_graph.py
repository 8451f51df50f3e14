"""What both forms of a window share: the graph under construction, and how values of the step graph are held in it."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgesnn.export.window_plan import Kind, Plan


class WindowGraph(ABC):
    """Nodes and constants of a window.

    A value of the step graph is held as one batch `name.all` [T*N, ...], with the time step as the slow index, as its
    steps, or, where it is the same at every step, under its own name.
    """

    def __init__(self, source: onnx.GraphProto, plan: Plan) -> None:
        self.source, self.plan = source, plan
        self.inputs = {entry.name: entry for entry in source.input}
        self.nodes: list[onnx.NodeProto] = []
        self.constants = list(source.initializer)
        #: Values that are known as one batch, and those that are the same at every step though they depend on x.
        self.batched: set[str] = set()
        self.still: set[str] = set()

    def add(self, op_type: str, name: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op_type, inputs, outputs, name=name, **attributes))

    def constant(self, name: str, values: list[int]) -> str:
        if all(init.name != name for init in self.constants):
            self.constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def merge_time(self, name: str, source: str, shape: list[int]) -> None:
        """`source` [T, N, *shape] -> `name.all` [T*N, *shape]."""
        target = self.constant(f"{name}.merged_shape", [-1, *shape])
        self.add("Reshape", f"{name}.merge_time", [source, target], [f"{name}.all"])
        self.batched.add(name)

    def run_together(self, node: onnx.NodeProto, kind: Kind) -> None:
        """A node for all steps: on one batch, or once where all it reads is the same at every step."""
        if kind is Kind.ONCE:
            self.nodes.append(copy.deepcopy(node))
            self.still.update(node.output)
            return
        self.nodes.append(
            renamed(
                node,
                node.name,
                {name: self.whole(name) for name in node.input} | {name: f"{name}.all" for name in node.output},
            )
        )
        self.batched.update(node.output)

    @abstractmethod
    def whole(self, name: str) -> str:
        """The name of a value as one batch, made where it is not there yet; constants stay as they are."""


def renamed(node: onnx.NodeProto, name: str, values: dict[str, str]) -> onnx.NodeProto:
    """A copy of a node under another name, with other names of its inputs and outputs where `values` has them."""
    copied = copy.deepcopy(node)
    copied.name = name
    del copied.input[:], copied.output[:]
    copied.input.extend(values.get(name, name) for name in node.input)
    copied.output.extend(values.get(name, name) for name in node.output)
    return copied


def dims(entry: onnx.ValueInfoProto) -> list[Any]:
    """Sizes of the axes, or their names where they have no size."""
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in entry.type.tensor_type.shape.dim]
