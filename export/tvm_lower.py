"""A graph of the function library as a Relax module: our kernels where there are, else TVM's importer."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgesnn.export import tvm_neurons, tvm_synapses
from edgesnn.export.functions import DOMAIN
from edgesnn.export.shapes import single_stream
from edgesnn.export.tvm_window import merge_steps

Array = NDArray[Any]
Attributes = dict[str, Any]
_SYNAPSES = ("Linear", "BinaryLinear", "Conv2d", "BinaryConv2d")
_STATEFUL = ("EMPF", "LIF", "LeakyIntegrate")
#: The functions that have kernels, and the attributes that these know.
_KNOWN: dict[str, set[str]] = {
    "Linear": set(),
    "BinaryLinear": {"fan_in"},
    "Conv2d": {"strides", "pads"},
    "BinaryConv2d": {"fan_in", "kernel", "strides", "pads"},
    "Rescale": {"shift"},
    "EMPF": {"k", "bits"},
    "ParallelEMPF": {"k", "bits"},
    "LIF": set(),
    "LeakyIntegrate": set(),
    "MaxPool2d": {"kernel_shape", "strides"},
}


def lower(proto: onnx.ModelProto, *, vnni: bool) -> Any:
    """The module with one function `main`, from the graph's inputs, of a single stream, to its outputs."""
    return _Lowering(proto, vnni).module()


@dataclass(frozen=True)
class _Sums:
    """A synapse that waits for its rescale, so that both are one kernel."""

    node: onnx.NodeProto


class _Lowering:
    def __init__(self, proto: onnx.ModelProto, vnni: bool) -> None:
        from tvm import relax

        self.proto, self.vnni, self.relax = proto, vnni, relax
        inputs = {entry.name for entry in proto.graph.input}
        self.constants = {
            init.name: numpy_helper.to_array(init) for init in proto.graph.initializer if init.name not in inputs
        }
        self.types = single_stream(proto)
        self.nodes = merge_steps(proto.graph, self._has_neuron_kernel)
        self.readers = Counter(name for node in self.nodes for name in node.input)
        self.readers.update(entry.name for entry in proto.graph.output)
        self.values: dict[str, Any] = {}
        self.waiting: dict[str, _Sums] = {}
        self.builder = relax.BlockBuilder()

    def module(self) -> Any:
        relax, graph = self.relax, self.proto.graph
        for entry in graph.input:
            shape, dtype = self.types[entry.name]
            self.values[entry.name] = relax.Var(_identifier(entry.name), relax.TensorType(shape, dtype))
        with self.builder.function("main", [self.values[entry.name] for entry in graph.input]):
            with self.builder.dataflow():
                for node in self.nodes:
                    self._lower(node)
                results = [self.value(entry.name) for entry in graph.output]
                output = self.builder.emit_output(results[0] if len(results) == 1 else relax.Tuple(results))
            self.builder.emit_func_output(output)
        return relax.transform.InlinePrivateFunctions()(self.builder.get())

    def value(self, name: str) -> Any:
        if name not in self.values:
            self.values[name] = self.relax.const(self.constants[name])
        return self.values[name]

    def _lower(self, node: onnx.NodeProto) -> None:
        attributes = _attributes(node)
        if _is_known(node, attributes):
            if node.op_type in _SYNAPSES and self._waits(node, attributes):
                self.waiting[node.output[0]] = _Sums(node)
                return
            if node.op_type == "Rescale" and node.input[0] in self.waiting:
                self._synapse(self.waiting[node.input[0]].node, node, attributes["shift"])
                return
            if self._has_neuron_kernel(node):
                self._neuron(node, attributes)
                return
            if node.op_type == "ParallelEMPF" and self._is_small(node):
                size, (shape, _) = self._size(node.output[0]), self.types[node.output[0]]
                kernel = tvm_neurons.parallel_empf(size, attributes)
                flat = [self._reshaped(self.value(node.input[0]), (size,)), self._vector(node.input[1], 1)]
                spikes = self._call(kernel, "parallel_empf", flat, [((size,), "uint8")])[0]
                self.values[node.output[0]] = self._reshaped(spikes, shape)
                return
            if node.op_type == "MaxPool2d":
                self._max_pool2d(node, attributes)
                return
        self._imported(node)

    def _waits(self, node: onnx.NodeProto, attributes: Attributes) -> bool:
        """Whether a kernel computes this synapse and the rescale that alone reads it."""
        x, w = node.input
        after = next((other for other in self.nodes if node.output[0] in other.input), None)
        fits = (
            w in self.constants
            and self.types[x][1] in ("uint8", "int8")
            and self.readers[node.output[0]] == 1
            and after is not None
            and after.op_type == "Rescale"
            and after.input[1] in self.constants
        )
        return fits and list(attributes.get("strides", [1, 1])) == [1, 1]

    def _synapse(self, node: onnx.NodeProto, rescale: onnx.NodeProto, shift: int) -> None:
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        stored, binary = self.constants[node.input[1]], "fan_in" in attributes
        if binary:
            bits = np.unpackbits(stored, axis=1, count=attributes["fan_in"], bitorder="little")
            weights = (bits.astype(np.int8) * np.int8(2) - np.int8(1)).reshape(attributes.get("kernel", bits.shape))
        else:
            weights = stored
        (batch, *inputs), x_type = self.types[node.input[0]]
        signed, outputs, result = x_type == "int8", len(weights), rescale.output[0]
        start = -128 * signed * weights.reshape(outputs, -1).sum(axis=1, dtype=np.int32)
        options = {"signed": signed, "binary": binary, "vnni": self.vnni}
        if weights.ndim == 4:
            conv = tvm_synapses.Conv(
                inputs[0], (inputs[1], inputs[2]), outputs, weights.shape[2:], tuple(attributes["pads"]), (1, 1)
            )
            packed = tvm_synapses.conv_weights(conv, weights, binary=binary, vnni=self.vnni)
            kernel = tvm_synapses.conv2d(conv, batch, shift, **options)
            operands = [self.relax.const(packed), self.relax.const(tvm_synapses.SIGNS)]
            wide = outputs
        else:
            packed = tvm_synapses.linear_weights(weights, binary=binary, vnni=self.vnni)
            kernel = tvm_synapses.linear(inputs[0], outputs, batch, shift, **options)
            operands = [self.relax.const(packed)]
            wide = -(-outputs // tvm_synapses.LANES) * tvm_synapses.LANES
        operands += [self._vector(value, wide) for value in (start, *rescale.input[1:])]
        name = node.op_type.lower()
        self.values[result] = self._call(kernel, name, [self.value(node.input[0]), *operands], [self.types[result]])[0]

    def _vector(self, value: Array | str, size: int) -> Any:
        """int32 [O] with zeros to `size`."""
        known = self.constants.get(value) if isinstance(value, str) else value
        if known is not None:
            flat = known.reshape(-1)
            return self.relax.const(np.pad(flat, (0, size - flat.size)))
        flat = self._reshaped(self.value(str(value)), (self._size(str(value)),))
        zeros = np.zeros(size - self._size(str(value)), np.int32)
        return self.builder.emit(self.relax.op.concat([flat, self.relax.const(zeros)])) if zeros.size else flat

    def _neuron(self, node: onnx.NodeProto, attributes: Attributes) -> None:
        v, current, lam, *theta = node.input
        size, result = self._size(v), "int32" if node.op_type == "LeakyIntegrate" else "uint8"
        steps, currents = self._size(node.output[0]) // size, self._size(current) // size
        kernel = tvm_neurons.neuron(node.op_type, size, steps, attributes, held=currents < steps)
        operands = [self._reshaped(self.value(v), (size,)), self._reshaped(self.value(current), (currents, size))]
        operands += [self._vector(lam, 1), self._vector(theta[0] if theta else lam, 1)]
        shapes = [((steps, size), result), ((size,), "int32")]
        outputs = self._call(kernel, node.op_type.lower(), operands, shapes)
        (one, *rest), _ = self.types[v]
        for name, value, lead in zip(node.output, outputs, (steps, one), strict=False):
            self.values[name] = self._reshaped(value, (lead, *rest))

    def _has_neuron_kernel(self, node: onnx.NodeProto) -> bool:
        """Whether `_neuron` takes this node, over one step or over several."""
        return node.op_type in _STATEFUL and _is_known(node, _attributes(node)) and self._is_small(node)

    def _is_small(self, node: onnx.NodeProto) -> bool:
        """Whether leaks and thresholds, those of a single channel too, are one value for all, and within what int32 can
        subtract.
        """
        scalars = node.input[2:] if node.op_type in _STATEFUL else node.input[1:]
        known = [self.constants[name] for name in scalars if name in self.constants]
        return all(self._size(name) == 1 for name in scalars) and all((np.abs(c) < 2**30).all() for c in known)

    def _max_pool2d(self, node: onnx.NodeProto, attributes: Attributes) -> None:
        (batch, channels, height, width), _ = self.types[node.input[0]]
        planes, (shape, dtype) = batch * channels, self.types[node.output[0]]
        kernel = tvm_neurons.max_pool2d(
            planes, (height, width), tuple(attributes["kernel_shape"]), tuple(attributes["strides"])
        )
        x = self._reshaped(self.value(node.input[0]), (planes, height, width))
        pooled = self._call(kernel, "max_pool2d", [x], [((planes, *shape[2:]), dtype)])[0]
        self.values[node.output[0]] = self._reshaped(pooled, shape)

    def _call(
        self, kernel: Any, name: str, operands: list[Any], outputs: list[tuple[tuple[int, ...], str]]
    ) -> list[Any]:
        relax = self.relax
        types = [relax.TensorType(shape, dtype) for shape, dtype in outputs]
        function = self.builder.add_func(kernel, name)
        result = self.builder.emit(relax.call_tir(function, operands, types if len(types) > 1 else types[0]))
        if len(types) == 1:
            return [result]
        return [self.builder.emit(relax.TupleGetItem(result, i)) for i in range(len(types))]

    def _imported(self, node: onnx.NodeProto) -> None:
        """One node through TVM's importer, as a function of its own that is inlined in the end."""
        from tvm.relax.frontend.onnx import from_onnx

        names = [name for name in dict.fromkeys(node.input) if name]
        taken = [name for name in names if name not in self.constants]
        graph = helper.make_graph(
            [node], "node",
            [self._info(name) for name in taken], [self._info(name) for name in node.output],
            [numpy_helper.from_array(self.constants[name], name) for name in names if name in self.constants],
        )  # fmt: skip
        single = onnx.ModelProto()
        single.CopyFrom(self.proto)
        single.graph.CopyFrom(graph)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # inputs are renamed, which no one sees
            module = from_onnx(flatten(single), shape_dict={name: list(self.types[name][0]) for name in taken})
        kernels = {
            variable.name_hint: self.builder.add_func(function, variable.name_hint)
            for variable, function in module.functions_items()
            if variable.name_hint != "main"
        }
        function = _renamed(module["main"], kernels).without_attr("global_symbol")
        called = self.builder.add_func(function, _identifier(node.name or node.op_type))
        result = self.builder.emit(self.relax.Call(called, [self.value(name) for name in taken]))
        for i, name in enumerate(node.output):
            single_output = not isinstance(result.ty, self.relax.TupleType)
            self.values[name] = result if single_output else self.builder.emit(self.relax.TupleGetItem(result, i))

    def _info(self, name: str) -> onnx.ValueInfoProto:
        shape, dtype = self.types[name]
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

    def _size(self, name: str) -> int:
        shape = self.constants[name].shape if name in self.constants else self.types[name][0]
        return int(np.prod(shape, dtype=np.int64))

    def _reshaped(self, value: Any, shape: tuple[int, ...]) -> Any:
        return self.builder.emit(self.relax.op.reshape(value, shape))


def flatten(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The graph without functions, with constants folded, and trainable parameters as plain inputs."""
    from onnxscript import optimizer

    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    inputs = {entry.name for entry in bare.graph.input}
    constants = [init for init in bare.graph.initializer if init.name not in inputs]
    del bare.graph.initializer[:]
    bare.graph.initializer.extend(constants)
    folded: onnx.ModelProto = optimizer.optimize(onnx.inliner.inline_local_functions(bare))
    return folded


def _renamed(function: Any, kernels: dict[str, Any]) -> Any:
    """A function of another module, with its kernels as this module has them."""
    from tvm.relax.expr_functor import PyExprMutator, mutator

    @mutator
    class Renamer(PyExprMutator):  # type: ignore[misc]
        def visit_global_var_(self, variable: Any) -> Any:
            return kernels[variable.name_hint]

    return Renamer().visit_expr(function) if kernels else function


def _identifier(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)


def _attributes(node: onnx.NodeProto) -> Attributes:
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def _is_known(node: onnx.NodeProto, attributes: Attributes) -> bool:
    """Whether the node is a function of the library, with the attributes that kernels take."""
    return node.domain == DOMAIN and set(attributes) <= _KNOWN.get(node.op_type, set())
