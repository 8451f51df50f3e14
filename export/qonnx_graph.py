"""`export.qonnx`: a quantized network as Brevitas computes it, for tools that read QONNX, such as FINN.

Values are real numbers, in float32, and quantizers are nodes of their own: `Quant` and `BipolarQuant` of the domain
"qonnx.custom_op.general". Membranes are states that go in and come out: `NAME.v` and `NAME.v.new`. It is the network
that `es.quantize` returns, not the integers that are deployed; see docs/interop.md for what may differ.

Shapes: T time steps, N batch, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import brevitas.nn as qnn
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference
from torch import Tensor, nn

from edgesnn.errors import ExportError
from edgesnn.export.builder import GraphBuilder
from edgesnn.export.functions.domain import FLOAT, IR_VERSION, OPSET
from edgesnn.layers import Scale
from edgesnn.models import Network, Residual, evaluating
from edgesnn.neurons import LIF, MultiLIF
from edgesnn.quant import QuantEMPF, QuantInput, QuantReadout, check_calibrated
from edgesnn.runtime.graph import NEW

Array = NDArray[Any]
#: The domain of the quantizer nodes, and the version that Brevitas writes too.
QONNX, QONNX_VERSION = "qonnx.custom_op.general", 2


def qonnx(qnet: Network, path: str | Path, window: int | None = None, batch: int = 1) -> onnx.ModelProto:
    """Write one time step, or `window` of them, as a QONNX file.

    Inputs are `x` [N, ...], normalized (with a window [T, N, ...]), and the states, zero before the first step; outputs
    are `y` [N, K] ([T, N, K]), the accumulated logits of the readout, and the new states. All shapes are fixed, as
    these tools want them.

    Args:
        qnet: a calibrated network from `edgesnn.quantize`.
        path: the file to write.
        window: time steps in one graph; None for a graph of one step.
        batch: N.

    Raises:
        QuantizationError: the network is not quantized or not calibrated.
        ExportError: a layer that has no form in QONNX here, or a window or batch below 1.
    """
    check_calibrated(qnet)
    if batch < 1 or (window is not None and window < 1):
        raise ExportError(
            f"qonnx: expected a window and a batch of at least 1, got {window} and {batch}; choose others"
        )
    model = _Writer(qnet, batch).model(window)
    onnx.save_model(model, path)
    return model


class _Writer:
    """Nodes of one or more time steps over the same weights."""

    def __init__(self, qnet: Network, batch: int) -> None:
        self.net, self.batch = qnet, batch
        self.builder = GraphBuilder()
        self.known: dict[str, str] = {}  # quantized weights and other constants, written once
        self.states: dict[str, str] = {}  # the value of each state by now
        self.suffix = ""  # of the names of values of this time step

    def model(self, window: int | None) -> onnx.ModelProto:
        with evaluating(self.net), torch.no_grad():
            graph = self._graph(window)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(QONNX, QONNX_VERSION)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="edgesnn", ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return _with_shapes(model)

    def _graph(self, window: int | None) -> onnx.GraphProto:
        net, builder = self.net, self.builder
        shape: list[int | str] = [self.batch, *net.input_shape]
        _, state = net.step(torch.zeros(self.batch, *net.input_shape), {}, 0)
        shapes: dict[str, list[int | str]] = {f"{name}.v": list(value.shape) for name, value in state.items()}
        shapes["readout.acc"] = [self.batch, net.classes]
        self.per_step = any(
            len(values) > 1
            for layer in net.modules()
            if isinstance(layer, QuantEMPF)
            for values in (layer.lam_values(), layer.theta_values())
        )
        if self.per_step:
            shapes["t"] = [1]
        builder.input("x", "float32", shape if window is None else [window, *shape])
        for name, dims in shapes.items():
            self.states[name] = builder.input(name, "int64" if name == "t" else "float32", dims)
        logits = [self._step(t) for t in range(window)] if window else [self._step(None)]
        builder.standard("Concat" if window else "Identity", "y.join", logits, ["y"], **({"axis": 0} if window else {}))
        builder.output(
            "y", "float32", [self.batch, net.classes] if window is None else [window, self.batch, net.classes]
        )
        for name, dims in shapes.items():
            builder.standard("Identity", f"{name}.keep", [self.states[name]], [name + NEW])
            builder.output(name + NEW, "int64" if name == "t" else "float32", dims)
        doc = "The fake-quantized network in float32; states go in and come out."
        return helper.make_graph(
            builder.nodes, "window" if window else "step", builder.inputs, builder.outputs, builder.initializers,
            doc_string=doc,
        )  # fmt: skip

    def _step(self, t: int | None) -> str:
        """One time step; the name of its accumulated logits, [N, K] or, as part of a window, [1, N, K]."""
        x = "x"
        if t is not None:
            self.suffix = f".{t}"
            x = self._add("Gather", "x.at", ["x", self._constant(f"x.{t}", np.int64(t))], axis=0)
        logits = self._chain(self.net.layers.items(), "", x)
        leak = self._constant("readout.leak", np.float32(self.net.readout.leak))
        kept = self._add("Mul", "readout.leaked", [leak, self.states["readout.acc"]])
        total = self._add("Add", "readout.sum", [kept, logits])
        self.states["readout.acc"] = total
        if self.per_step:
            self.states["t"] = self._next_step()
        if t is None:
            return total
        return self._add("Unsqueeze", "y.at", [total, self._constant("y.axis", np.array([0], np.int64))])

    def _next_step(self) -> str:
        steps = max(len(layer.theta_values()) for layer in self.net.modules() if isinstance(layer, QuantEMPF))
        one, all_steps = (self._constant(f"t.{key}", np.int64(value)) for key, value in (("one", 1), ("all", steps)))
        return self._add("Mod", "t.next", [self._add("Add", "t.later", [self.states["t"], one]), all_steps])

    def _chain(self, layers: Iterable[tuple[str, nn.Module]], path: str, value: str) -> str:
        for name, layer in layers:
            value = self._layer(f"{path}{name}", layer, value)
        return value

    def _layer(self, name: str, layer: nn.Module, x: str) -> str:
        match layer:
            case QuantInput():
                return self._quant(name, x, layer.scale, 8, signed=layer.signed, narrow=False)
            case QuantReadout() | qnn.QuantLinear():
                return self._linear(name, layer, x)
            case qnn.QuantConv2d():
                return self._conv(name, layer, x)
            case QuantEMPF():
                return self._empf(name, layer, x)
            case LIF() | MultiLIF():
                return self._lif(name, layer, x)
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                return self._norm(name, layer, x)
            case nn.MaxPool2d() | nn.AvgPool2d():
                return self._pool(name, layer, x)
            case nn.AdaptiveAvgPool2d() if layer.output_size in (1, (1, 1)):
                return self._add("GlobalAveragePool", f"{name}.y", [x])
            case nn.Flatten():
                return self._add("Flatten", f"{name}.y", [x], axis=1)
            case nn.Dropout() | nn.Identity():
                return x
            case Scale():
                gain = 1.0 if layer.gain is None else float(layer.gain)
                return self._add(
                    "Mul", f"{name}.y", [x, self._constant(f"{name}.factor", np.float32(layer.factor * gain))]
                )
            case Residual():
                branches = (layer.branch, layer.shortcut), ("branch", "shortcut")
                values = [self._chain(c.layers.items(), f"{name}.{p}.", x) for c, p in zip(*branches, strict=True)]
                return self._add("Add", f"{name}.y", values)
        raise ExportError(
            f"{name}: expected a layer with a form in QONNX, got {type(layer).__name__}; see the table in "
            "docs/interop.md"
        )

    def _linear(self, name: str, layer: Any, x: str) -> str:
        product = self._add("MatMul", f"{name}.a", [x, self._weights(name, layer, transposed=True)])
        return (
            product
            if layer.bias is None
            else self._add("Add", f"{name}.y", [product, self._parameter(name, "bias", layer)])
        )

    def _conv(self, name: str, layer: Any, x: str) -> str:
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise ExportError(f"{name}: expected zero padding in numbers, got {layer.padding!r}; change the layer")
        operands = [x, self._weights(name, layer)]
        if layer.bias is not None:
            operands.append(self._parameter(name, "bias", layer))
        return self._add(
            "Conv", f"{name}.y", operands, kernel_shape=list(layer.kernel_size), strides=list(layer.stride),
            pads=list(layer.padding) * 2, dilations=list(layer.dilation), group=layer.groups,
        )  # fmt: skip

    def _weights(self, name: str, layer: Any, transposed: bool = False) -> str:
        """The values of the weights behind their quantizer; a matrix as [inputs, outputs]."""
        if f"{name}.w" in self.known:
            return self.known[f"{name}.w"]
        quantized = layer.quant_weight()
        value, scale, bits = _numpy(quantized.value), _numpy(quantized.scale), int(quantized.bit_width)
        scale = scale.reshape(-1, *[1] * (value.ndim - 1)) if scale.size > 1 else scale.reshape(())
        if transposed:
            value, scale = value.T, scale.T
        operands = [self._constant(f"{name}.weight", value), self._constant(f"{name}.weight.scale", scale)]
        if bits == 1:
            self._node("BipolarQuant", f"{name}.weight.quant", operands, f"{name}.w", domain=QONNX)
        else:
            operands += self._zero_and_bits(bits)
            attributes = {"signed": 1, "narrow": 1, "rounding_mode": "ROUND"}
            self._node("Quant", f"{name}.weight.quant", operands, f"{name}.w", domain=QONNX, **attributes)
        self.known[f"{name}.w"] = f"{name}.w"
        return f"{name}.w"

    def _quant(self, name: str, x: str, scale: float, bits: int, signed: bool, narrow: bool) -> str:
        operands = [x, self._constant(f"{name}.scale", np.float32(scale)), *self._zero_and_bits(bits)]
        attributes = {"signed": int(signed), "narrow": int(narrow), "rounding_mode": "ROUND"}
        output = f"{name}.s{self.suffix}"
        self._node("Quant", f"{name}.quant{self.suffix}", operands, output, domain=QONNX, **attributes)
        return output

    def _zero_and_bits(self, bits: int) -> list[str]:
        return [self._constant("zero", np.float32(0)), self._constant(f"bits.{bits}", np.float32(bits))]

    def _empf(self, name: str, layer: QuantEMPF, current: str) -> str:
        """m = lam*v + I, s = Q(m - theta), v' = m - s; version III: m = I, and no v'."""
        state = f"{name}.v"
        m = current
        if not layer.parallel:
            lam = self._at_step(f"{name}.lam", layer.lam_values())
            m = self._add("Add", f"{name}.m", [self._add("Mul", f"{name}.leaked", [lam, self.states[state]]), current])
        above = self._add("Sub", f"{name}.above", [m, self._at_step(f"{name}.theta", layer.theta_values())])
        s = self._quant(name, above, layer.scale, layer.bits, signed=False, narrow=False)
        if not layer.parallel:
            self.states[state] = self._add("Sub", f"{name}.rest", [m, s])
        return s

    def _lif(self, name: str, layer: LIF | MultiLIF, current: str) -> str:
        """m = lam*v + I; the spikes and the reset of `lif_step` or `multi_lif_step`."""
        state = f"{name}.v"
        lam = self._constant(f"{name}.lam", np.float32(layer.lam))
        theta = self._constant(f"{name}.theta", _numpy(layer.theta_values()).reshape(()))
        m = self._add("Add", f"{name}.m", [self._add("Mul", f"{name}.leaked", [lam, self.states[state]]), current])
        if isinstance(layer, MultiLIF):
            whole = self._add("Floor", f"{name}.whole", [self._add("Div", f"{name}.ratio", [m, theta])])
            limits = [self._constant("zero", np.float32(0)), self._constant(f"{name}.most", np.float32(layer.most))]
            s = self._add("Clip", f"{name}.s", [whole, *limits])
        else:
            level = self._constant(f"{name}.level", np.float32(layer.alpha * float(layer.theta_values())))
            fires = self._add("Greater" if layer.strict else "GreaterOrEqual", f"{name}.fires", [m, level])
            s = self._add("Cast", f"{name}.s", [fires], to=FLOAT)
        if getattr(layer, "reset", "subtract") == "zero":
            kept = self._add("Sub", f"{name}.kept", [self._constant("one", np.float32(1)), s])
            self.states[state] = self._add("Mul", f"{name}.rest", [m, kept])
        else:
            dropped = self._add("Mul", f"{name}.dropped", [theta, s])
            self.states[state] = self._add("Sub", f"{name}.rest", [m, dropped])
        return s

    def _at_step(self, name: str, values: Tensor) -> str:
        """A number, or the entry of a table [T] at this time step, [1]."""
        table = _numpy(values)
        if table.ndim > 1:
            raise ExportError(
                f"{name}: expected one value for the layer, got one for each channel; see docs/interop.md"
            )
        if len(table) == 1:
            return self._constant(name, table.reshape(()))
        return self._add("Gather", f"{name}.now", [self._constant(name, table), self.states["t"]], axis=0)

    def _norm(self, name: str, layer: Any, x: str) -> str:
        if layer.running_mean is None or not layer.affine:
            raise ExportError(f"{name}: expected a norm with statistics, weight and bias, got {layer}; use the default")
        keys = ("weight", "bias", "running_mean", "running_var")
        operands = [x, *(self._parameter(name, key, layer) for key in keys)]
        return self._add("BatchNormalization", f"{name}.y", operands, epsilon=layer.eps)

    def _pool(self, name: str, layer: nn.MaxPool2d | nn.AvgPool2d, x: str) -> str:
        if (
            layer.ceil_mode
            or getattr(layer, "dilation", 1) not in (1, (1, 1))
            or getattr(layer, "divisor_override", None)
        ):
            raise ExportError(
                f"{name}: expected a pooling without ceil_mode, dilation and divisor, got {layer}; change it"
            )
        kernel, strides, pads = (_pair(value) for value in (layer.kernel_size, layer.stride, layer.padding))
        common = {"kernel_shape": kernel, "strides": strides, "pads": pads * 2}
        if isinstance(layer, nn.MaxPool2d):
            return self._add("MaxPool", f"{name}.y", [x], **common)
        return self._add("AveragePool", f"{name}.y", [x], count_include_pad=int(layer.count_include_pad), **common)

    def _parameter(self, name: str, key: str, layer: nn.Module) -> str:
        return self._constant(f"{name}.{key}", _numpy(getattr(layer, key)))

    def _constant(self, name: str, value: Any) -> str:
        if name not in self.known:
            # Numbers stay numbers: QONNX wants scales and bits without axes.
            self.builder.initializers.append(numpy_helper.from_array(np.array(value, order="C"), name))
            self.known[name] = name
        return name

    def _add(self, op_type: str, name: str, inputs: list[str], **attributes: Any) -> str:
        """A node of standard ONNX; the name of its value."""
        output = f"{name}{self.suffix}"
        self._node(op_type, f"{output}.{op_type.lower()}", inputs, output, **attributes)
        return output

    def _node(self, op_type: str, name: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.builder.nodes.append(helper.make_node(op_type, inputs, [output], name=name, **attributes))


def _numpy(tensor: Tensor) -> Array:
    return tensor.detach().cpu().float().numpy()


def _pair(value: int | tuple[int, int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the shape of every value: inferred as if quantizers were identities, which keep it too."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for node in plain.graph.node:
        if node.domain == QONNX:
            node.CopyFrom(helper.make_node("Identity", list(node.input[:1]), list(node.output), name=node.name))
    inferred = shape_inference.infer_shapes(plain, strict_mode=True)
    model.graph.value_info.extend(inferred.graph.value_info)
    return model
