"""Read `step.onnx` and `learn.onnx` into typed nodes for one stream: shapes known, values named, order kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgesnn.errors import ExportError
from edgesnn.export.functions import DOMAIN
from edgesnn.runtime.graph import NEW
from edgesnn.runtime.model import PersistentTensor

Array = NDArray[Any]


@dataclass(frozen=True)
class Tensor:
    """A value of the graph with batch size 1.

    `place` is where its bytes are: the name of the input, persistent tensor, constant or value that owns them. Values
    that only reshape another one share its place.
    """

    kind: Literal["input", "persistent", "constant", "value"]
    place: str
    dtype: str
    shape: tuple[int, ...]
    index: Tensor | None = None  # the entry picked from the table at `place` (parameters per time step)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Node:
    """One call of an `edgesnn` function."""

    op: str
    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Graph:
    """Nodes in execution order, the constants they read, and the place of `y` (None in a learning graph)."""

    nodes: tuple[Node, ...]
    constants: dict[str, Array]
    y: Tensor | None


#: (inputs, attributes) -> dtype and shape of each output.
Infer = Callable[[tuple[Tensor, ...], dict[str, Any]], list[tuple[str, tuple[int, ...]]]]


def read(graph: onnx.GraphProto, tensors: Iterable[PersistentTensor], infer: dict[str, Infer]) -> Graph:
    """Resolve names, shapes and places.

    Args:
        graph: that of `step.onnx` or `learn.onnx`.
        tensors: what the model keeps between calls.
        infer: shape rule of each function that C supports.

    Raises:
        ExportError: a node that C does not support.
    """
    reader = _Reader(graph, tensors, infer)
    nodes = [reader.node(node) for node in graph.node]
    calls = [node for node in nodes if node is not None]
    calls.sort(key=lambda node: node.op == "NextStep")  # stable: the time index moves on when all have read it
    outputs = [output.name for output in graph.output]
    y = reader.tensors[reader.canonical("y")] if "y" in outputs else None
    return Graph(tuple(calls), reader.constants, y)


class _Reader:
    def __init__(
        self, graph: onnx.GraphProto, tensors: Iterable[PersistentTensor], infer: dict[str, Infer]
    ) -> None:  # fmt: skip
        self._infer = infer
        self._persistent = {tensor.name: tensor for tensor in tensors}
        self._aliases = {node.input[0]: node.output[0] for node in graph.node if _keeps(node)}
        self.tensors: dict[str, Tensor] = {}
        self.constants: dict[str, Array] = {}
        for value in graph.initializer:
            array = numpy_helper.to_array(value)
            self.tensors[value.name] = Tensor("constant", value.name, str(array.dtype), array.shape)
            if value.name not in self._persistent:
                self.constants[value.name] = array
        for entry in graph.input:
            self.tensors[entry.name] = self._input(entry)

    def _input(self, entry: onnx.ValueInfoProto) -> Tensor:
        if entry.name in self._persistent:
            return self._stored(entry.name)
        kind = entry.type.tensor_type
        shape = tuple(dim.dim_value or 1 for dim in kind.shape.dim)
        return Tensor("input", entry.name, str(helper.tensor_dtype_to_np_dtype(kind.elem_type)), shape)

    def _stored(self, name: str) -> Tensor:
        tensor = self._persistent[name]
        return Tensor("persistent", name, tensor.dtype, tensor.shape)

    def canonical(self, name: str) -> str:
        """The name under which a value is known: of two names for one value, that of the persistent tensor."""
        return self._aliases.get(name, name)

    def node(self, node: onnx.NodeProto) -> Node | None:
        """The call of a node, or None where it is only another name or view of a value."""
        inputs = tuple(self._operand(node, name) for name in node.input)
        if node.domain != DOMAIN:
            self._view(node, inputs)
            return None
        if node.op_type not in self._infer:
            raise ExportError(
                f"{node.name}: expected a function that C supports ({', '.join(self._infer)}), "
                f"got {node.op_type}; use another backend"
            )
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        kinds = self._infer[node.op_type](inputs, attributes)
        outputs = tuple(
            self._define(self.canonical(name), dtype, shape)
            for name, (dtype, shape) in zip(node.output, kinds, strict=True)
        )
        if node.op_type != "NextStep":  # is moved to the end
            for output in outputs:
                if output.kind == "persistent":
                    self.tensors.pop(output.place, None)
        return Node(node.op_type, node.name, inputs, outputs, attributes)

    def _operand(self, node: onnx.NodeProto, name: str) -> Tensor:
        name = self.canonical(name)
        if name not in self.tensors:
            raise ExportError(
                f"{node.name}: expected to read {name} before its new value is written, got it after; "
                "C updates persistent tensors in place: reorder the nodes"
            )
        return self.tensors[name]

    def _define(self, name: str, dtype: str, shape: tuple[int, ...]) -> Tensor:
        stored = name.removesuffix(NEW)
        new = name.endswith(NEW) and stored in self._persistent
        self.tensors[name] = self._stored(stored) if new else Tensor("value", name, dtype, shape)
        return self.tensors[name]

    def _view(self, node: onnx.NodeProto, inputs: tuple[Tensor, ...]) -> None:
        x, name = inputs[0], node.output[0]
        if node.op_type == "Identity":
            self.tensors.setdefault(self.canonical(name), x)
        elif node.op_type == "Flatten":
            self.tensors[name] = Tensor(x.kind, x.place, x.dtype, (1, x.size))
        elif node.op_type == "Reshape" and x.kind == "value":
            shape = self.constants.pop(node.input[1])
            self.tensors[name] = Tensor(x.kind, x.place, x.dtype, tuple(int(n) for n in shape))
        elif node.op_type == "Gather" and inputs[1].size == 1 and _axis(node) == 0:
            self.tensors[name] = Tensor(x.kind, x.place, x.dtype, (1, *x.shape[1:]), index=inputs[1])
        else:
            raise ExportError(
                f"{node.name}: expected Identity, Flatten, Reshape, a Gather of one entry or an edgesnn function, got "
                f"{node.op_type}; C does not support it"
            )


def _axis(node: onnx.NodeProto) -> int:
    return next((int(entry.i) for entry in node.attribute if entry.name == "axis"), 0)


def _keeps(node: onnx.NodeProto) -> bool:
    """Whether the node gives a value its name as a persistent tensor."""
    return node.op_type == "Identity" and node.output[0].endswith(NEW)
