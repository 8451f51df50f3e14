"""A small builder of graphs made of `edgesnn` functions: nodes, constants and persistent tensors with good names."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgesnn.errors import ExportError
from edgesnn.export.functions import DOMAIN, FUNCTIONS, IR_VERSION, OPSET, VERSION, protos
from edgesnn.runtime.content import CONTENT_HASH, SOURCE_HASH, content_hash
from edgesnn.runtime.graph import NEW

Array = NDArray[Any]
BATCH = "N"


class GraphBuilder:
    """Collects nodes in execution order.

    Value names are `layer.what`; a persistent tensor `name` is the input `name` and the output `name.new`.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.tensors: list[dict[str, Any]] = []

    def constant(self, name: str, value: Array) -> str:
        """An initializer."""
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def input(self, name: str, dtype: str, shape: list[int | str]) -> str:
        self.inputs.append(_value_info(name, dtype, shape))
        return name

    def output(self, name: str, dtype: str, shape: list[int | str]) -> None:
        self.outputs.append(_value_info(name, dtype, shape))

    def state(self, name: str, shape: tuple[int, ...], *, batched: bool = True, dtype: str = "int32") -> str:
        """A persistent state that `reset` sets to zero; with `batched`, a leading batch axis is added."""
        leading: list[int | str] = [BATCH] if batched else []
        self.input(name, dtype, [*leading, *shape])
        self.output(name + NEW, dtype, [*leading, *shape])
        self.persistent(name, "state", dtype, ((1,) if batched else ()) + shape)
        return name

    def learner(self, name: str, shape: tuple[int, ...]) -> str:
        """A persistent int32 tensor that only learning writes, zero at the factory."""
        self.input(name, "int32", list(shape))
        self.persistent(name, "learner", "int32", shape)
        return name

    def persistent(self, name: str, kind: str, dtype: str, shape: tuple[int, ...]) -> None:
        """Name a tensor that the session keeps; by itself for one that this graph neither reads nor writes."""
        self.tensors.append({"name": name, "kind": kind, "dtype": dtype, "shape": list(shape)})

    def param(self, name: str, factory: Array) -> str:
        """A trainable parameter: an input whose default is the factory value."""
        self.constant(name, factory)
        self.input(name, str(factory.dtype), list(factory.shape))
        self.persistent(name, "param", str(factory.dtype), factory.shape)
        return name

    def call(self, function: str, name: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        """One node of the function library.

        Raises:
            ExportError: the library has no such function.
        """
        if function not in FUNCTIONS:
            raise ExportError(f"{name}: expected one of {', '.join(FUNCTIONS)}, got {function}; use one of them")
        self.nodes.append(helper.make_node(function, inputs, outputs, name=name, domain=DOMAIN, **attributes))

    def standard(self, op_type: str, name: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        """One node of standard ONNX."""
        self.nodes.append(helper.make_node(op_type, inputs, outputs, name=name, **attributes))

    def build(self, graph_name: str, metadata: dict[str, str], doc: str) -> onnx.ModelProto:
        """The checked model; its content hash becomes the source hash unless `metadata` already names one."""
        return finish(
            helper.make_graph(self.nodes, graph_name, self.inputs, self.outputs, self.initializers, doc_string=doc),
            metadata,
        )


def finish(graph: onnx.GraphProto, metadata: dict[str, str]) -> onnx.ModelProto:
    """Wrap a graph with the functions it calls and the metadata, check it, and seal it with its hashes."""
    functions = protos(_called(graph))
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)]
    model = helper.make_model(
        graph, functions=functions, opset_imports=opsets, producer_name="edgesnn", ir_version=IR_VERSION
    )
    onnx.checker.check_model(model)
    kept = {key: value for key, value in metadata.items() if key != CONTENT_HASH}
    helper.set_model_props(model, kept)
    digest = content_hash(model)
    helper.set_model_props(model, {SOURCE_HASH: digest} | kept | {CONTENT_HASH: digest})
    return model


def _called(graph: onnx.GraphProto) -> set[str]:
    """The functions of the library that a graph calls, those of the bodies in it included."""
    called = {node.op_type for node in graph.node if node.domain == DOMAIN}
    return called.union(*(_called(entry.g) for node in graph.node for entry in node.attribute if entry.HasField("g")))


def _value_info(name: str, dtype: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
