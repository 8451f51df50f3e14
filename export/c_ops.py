"""The functions that C supports: for each, the shapes of its outputs, its scratch memory, and the call of its kernel.

Kernels and their argument order are declared in runtime/c/src/esnn_kernels.h.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from edgesnn.errors import ExportError
from edgesnn.export.c_graph import Infer, Node, Tensor

Attributes = dict[str, Any]
Kinds = list[tuple[str, tuple[int, ...]]]
C_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t", "uint32": "uint32_t"}


class Refs(Protocol):
    """How generated code spells its operands."""

    def pointer(self, tensor: Tensor) -> str:
        """Address of the first element."""

    def scalar(self, tensor: Tensor) -> str:
        """Value of a tensor of one element."""

    def scratch(self, node: Node, c_type: str) -> str:
        """Address of the node's scratch memory."""

    def identifier(self, name: str) -> str:
        """A C identifier for the name of a node or tensor."""


@dataclass(frozen=True)
class Op:
    """One function in C.

    `updates` pairs an output with the input that the kernel overwrites with it: both are one persistent tensor.
    `shares` says that output 0 may be written over input 0, `writes` that it may be a persistent tensor that the
    function does not read.
    """

    infer: Infer | None  # none for what `c_kernels` puts in the place of another function
    call: Callable[[Node, Refs], list[str]]
    scratch_bytes: Callable[[Node], int] = lambda _: 0
    updates: tuple[tuple[int, int], ...] = ()
    shares: bool = False
    writes: bool = False
    synapse: bool = False


def _same(*dtypes: str) -> Infer:
    """Outputs of the shape of input 0."""
    return lambda inputs, _: [(dtype, inputs[0].shape) for dtype in dtypes]


def _call(kernel: str, *arguments: object) -> str:
    return f"{kernel}({', '.join(map(str, arguments))});"


def _patch_bytes(fan_in: int) -> int:
    """ESNN_PATCH: the fan-in rounded up to 16, in int16."""
    return -(-fan_in // 16) * 16 * 2


def _binary_linear_scratch(node: Node) -> int:
    """From ESNN_TABLE_LEAST outputs on, room for the tables of ESNN_TABLE_SCRATCH."""
    patch = _patch_bytes(node.inputs[0].size)
    return max(patch, 2048) if node.outputs[0].size >= 24 else patch


def _format(x: Tensor) -> str:
    return {"uint8": "ESNN_U8", "int8": "ESNN_S8"}[x.dtype]


# Synapses: inputs x, w; output a.


def _linear_shape(inputs: tuple[Tensor, ...], _: Attributes) -> Kinds:
    return [("int32", (1, inputs[1].shape[0]))]


def _linear(kernel: str) -> Callable[[Node, Refs], list[str]]:
    def call(node: Node, refs: Refs) -> list[str]:
        x, w = node.inputs
        return [_call(kernel, refs.pointer(x), _format(x), refs.pointer(w), refs.scratch(node, "int16_t"),
                      refs.pointer(node.outputs[0]), x.size, w.shape[0])]  # fmt: skip

    return call


def _kernel(w: Tensor, attributes: Attributes) -> tuple[int, ...]:
    """[O, C, kh, kw] of a convolution: packed weights name it in an attribute."""
    return tuple(attributes.get("kernel", w.shape))


def _extent(size: int, before: int, after: int, kernel: int, stride: int) -> int:
    return (size + before + after - kernel) // stride + 1


def _conv_shape(inputs: tuple[Tensor, ...], attributes: Attributes) -> Kinds:
    x, w = inputs
    outputs, _, *kernel = _kernel(w, attributes)
    (top, left, bottom, right), strides = attributes["pads"], attributes["strides"]
    rows = _extent(x.shape[2], top, bottom, kernel[0], strides[0])
    columns = _extent(x.shape[3], left, right, kernel[1], strides[1])
    return [("int32", (1, outputs, rows, columns))]


def _pool_shape(inputs: tuple[Tensor, ...], attributes: Attributes) -> Kinds:
    (_, channels, height, width), kernel, strides = inputs[0].shape, attributes["kernel_shape"], attributes["strides"]
    return [("uint8", (1, channels, _extent(height, 0, 0, kernel[0], strides[0]),
                       _extent(width, 0, 0, kernel[1], strides[1])))]  # fmt: skip


def _window(node: Node, kernel: tuple[int, ...], pads: tuple[int, ...], refs: Refs) -> tuple[str, str]:
    """Declaration of the constant geometry of a window, and its address."""
    fields = (*node.inputs[0].shape[1:], *node.outputs[0].shape[1:], *kernel, *node.attributes["strides"], *pads)
    name = f"{refs.identifier(node.name)}_window"
    return f"static const esnn_window {name} = {{{', '.join(map(str, fields))}}};", f"&{name}"


def _conv(kernel: str) -> Callable[[Node, Refs], list[str]]:
    def call(node: Node, refs: Refs) -> list[str]:
        x, w = node.inputs
        size, (top, left, _, _) = _kernel(w, node.attributes)[2:], node.attributes["pads"]
        declaration, window = _window(node, size, (top, left), refs)
        return [declaration, _call(kernel, refs.pointer(x), _format(x), refs.pointer(w),
                                   refs.scratch(node, "int16_t"), refs.pointer(node.outputs[0]), window)]  # fmt: skip

    return call


def _event_linear(node: Node, refs: Refs) -> list[str]:
    x, rows = node.inputs
    return [_call("esnn_event_linear", refs.pointer(x), refs.pointer(rows), refs.scratch(node, "uint16_t"),
                  refs.pointer(node.outputs[0]), x.size, node.outputs[0].size)]  # fmt: skip


def _event_conv(node: Node, refs: Refs) -> list[str]:
    x, rows = node.inputs
    size, (top, left, _, _) = node.attributes["kernel"][2:], node.attributes["pads"]
    declaration, window = _window(node, size, (top, left), refs)
    return [declaration, _call("esnn_event_conv2d", refs.pointer(x), refs.pointer(rows),
                               refs.scratch(node, "uint16_t"), refs.pointer(node.outputs[0]), window)]  # fmt: skip


def _event_conv_scratch(node: Node) -> int:
    width = node.inputs[0].shape[3]
    _, channels, rows, columns = node.attributes["kernel"]
    return 2 * (rows * columns * channels + rows * width * (channels + 1))


def _maxpool(node: Node, refs: Refs) -> list[str]:
    declaration, window = _window(node, tuple(node.attributes["kernel_shape"]), (0, 0), refs)
    return [declaration, _call("esnn_maxpool2d", refs.pointer(node.inputs[0]), refs.pointer(node.outputs[0]), window)]


def _binary_conv_scratch(node: Node) -> int:
    """Four pixels of each block of 32 inputs and where these are, and rows of the padded input: ESNN_BAND_WIDTH."""
    _, channels, *kernel = _kernel(node.inputs[1], node.attributes)
    stride, blocks = node.attributes["strides"][1], -(-channels * kernel[0] * kernel[1] // 32)
    width = (-(-node.outputs[0].shape[3] // 4) * 4 - 1) * stride + kernel[1]
    return 256 * blocks + (channels * kernel[0] + 1) * width


def _fan_in_scratch(node: Node) -> int:
    _, *fan_in = _kernel(node.inputs[1], node.attributes)
    return _patch_bytes(Tensor("value", "", "int8", tuple(fan_in)).size)


# Currents, neurons, readout.


def _rescale(node: Node, refs: Refs) -> list[str]:
    a, multiplier, bias = node.inputs
    outputs = a.shape[1]
    if multiplier.size != outputs or bias.size != outputs:
        raise ExportError(f"{node.name}: expected one multiplier and one bias for each of {outputs} channels, got "
                          f"{multiplier.size} and {bias.size}; export again")  # fmt: skip
    return [_call("esnn_rescale", *map(refs.pointer, (*node.inputs, *node.outputs)), outputs, a.size // outputs,
                  node.attributes["shift"], node.attributes.get("lift", 0))]  # fmt: skip


def _empf(node: Node, refs: Refs) -> list[str]:
    v, current, lam, theta = node.inputs
    return [_call("esnn_empf", refs.pointer(v), refs.pointer(current), refs.pointer(node.outputs[0]), v.size,
                  refs.scalar(lam), refs.scalar(theta), node.attributes["k"], node.attributes["bits"])]  # fmt: skip


def _parallel_empf(node: Node, refs: Refs) -> list[str]:
    current, theta = node.inputs
    return [_call("esnn_parallel_empf", refs.pointer(current), refs.pointer(node.outputs[0]), current.size,
                  refs.scalar(theta), node.attributes["k"], node.attributes["bits"])]  # fmt: skip


def _lif(node: Node, refs: Refs) -> list[str]:
    v, current, lam, theta = node.inputs
    return [_call("esnn_lif", refs.pointer(v), refs.pointer(current), refs.pointer(node.outputs[0]), v.size,
                  refs.scalar(lam), refs.scalar(theta))]  # fmt: skip


def _leaky_integrate(node: Node, refs: Refs) -> list[str]:
    acc, current, leak = node.inputs
    return [_call("esnn_leaky_integrate", refs.pointer(acc), refs.pointer(current), acc.size, refs.scalar(leak))]


def _trace(node: Node, refs: Refs) -> list[str]:
    trace, spikes, leak = node.inputs
    return [_call("esnn_trace", refs.pointer(trace), refs.pointer(spikes), trace.size, refs.scalar(leak),
                  node.attributes["gain"], node.attributes["limit"])]  # fmt: skip


def _next_step(node: Node, refs: Refs) -> list[str]:
    t = refs.pointer(node.inputs[0])
    return [f"*{t} = (*{t} + 1) % {node.attributes['steps']};"]


def _learn_readout(node: Node, refs: Refs) -> list[str]:
    weight, bias, trace, multiplier, label, count = node.inputs
    name = f"{refs.identifier(node.name)}_readout"
    numbers = (*weight.shape, *(f"{node.attributes[key]}u" for key in ("shift", "weight_shift", "bias_shift", "seed")))
    return [
        f"static const esnn_readout {name} = {{{', '.join(map(str, (refs.pointer(multiplier), *numbers)))}}};",
        _call("esnn_learn_readout", refs.pointer(weight), refs.pointer(bias), refs.pointer(trace), refs.scalar(label),
              refs.pointer(count), refs.scratch(node, "int32_t"), f"&{name}"),
    ]  # fmt: skip


# Class means: K classes, Q means a class.


def _constants(node: Node, refs: Refs, fields: dict[str, object]) -> tuple[str, str]:
    """Definition of the constants of one kernel of class means, and their address."""
    classes, means = node.attributes["groups"]
    name = f"{refs.identifier(node.name)}_constants"
    values = {"classes": classes, "means": means, "inputs": _trace_of(node).size, **fields}
    body = ", ".join(f".{field} = {value}" for field, value in values.items())
    return f"static const esnn_means {name} = {{{body}}};", f"&{name}"


def _trace_of(node: Node) -> Tensor:
    return node.inputs[6 if node.op == "LearnMeans" else 0]


def _guarded_means(node: Node, refs: Refs) -> list[str]:
    trace, weight, bias, factory_weight, factory_bias, use, multiplier = node.inputs
    declaration, address = _constants(node, refs, {
        "factory_weight": refs.pointer(factory_weight), "factory_bias": refs.pointer(factory_bias),
        "multiplier": refs.scalar(multiplier), "shift": node.attributes["shift"],
    })  # fmt: skip
    pointers = map(refs.pointer, (trace, weight, bias))
    return [
        declaration,
        _call("esnn_guarded_means", *pointers, refs.scalar(use), refs.pointer(node.outputs[0]), address),
    ]


def _guard_check(node: Node, refs: Refs) -> list[str]:
    trace, weight, bias, factory_weight, factory_bias, label, *counters = node.inputs
    declaration, address = _constants(node, refs, {
        "factory_weight": refs.pointer(factory_weight), "factory_bias": refs.pointer(factory_bias),
        "check": node.attributes["check"],
    })  # fmt: skip
    guard = f"{refs.identifier(node.name)}_counters"
    return [
        declaration,
        f"const esnn_guard {guard} = {{{', '.join(map(refs.pointer, counters))}}};",
        _call("esnn_guard_check", *map(refs.pointer, (trace, weight, bias)), refs.scalar(label), f"&{guard}", address),
    ]


def _learn_means(node: Node, refs: Refs) -> list[str]:
    *learned, factory_mean, metric, trace, label, run = node.inputs
    declaration, address = _constants(node, refs, {
        "factory_mean": refs.pointer(factory_mean), "metric": refs.pointer(metric),
        "metric_shift": node.attributes["shift"],
        **{name: node.attributes[name] for name in ("settle", "prior", "most", "bias_limit")},
    })  # fmt: skip
    pointers = map(refs.pointer, (*learned, trace))
    return [declaration, _call("esnn_learn_means", *pointers, refs.scalar(label), refs.scalar(run),
                               refs.scratch(node, "int16_t"), address)]  # fmt: skip


def _guard_decide(node: Node, refs: Refs) -> list[str]:
    count, *counters = node.inputs
    decided = _call("esnn_guard_decide", refs.pointer(count), *map(refs.scalar, counters), *node.attributes["groups"])
    return [f"*{refs.pointer(node.outputs[0])} = {decided}"]


def _like(*numbers: int) -> Infer:
    """Outputs of the types and shapes of these inputs."""
    return lambda inputs, _: [(inputs[i].dtype, inputs[i].shape) for i in numbers]


OPS: dict[str, Op] = {
    "Linear": Op(_linear_shape, _linear("esnn_linear"), lambda node: _patch_bytes(node.inputs[0].size), synapse=True),
    "BinaryLinear": Op(_linear_shape, _linear("esnn_binary_linear"), _binary_linear_scratch, synapse=True),
    "Conv2d": Op(_conv_shape, _conv("esnn_conv2d"), lambda node: 2 * _fan_in_scratch(node), synapse=True),
    "BinaryConv2d": Op(_conv_shape, _conv("esnn_binary_conv2d"), _binary_conv_scratch, synapse=True),
    "EventLinear": Op(None, _event_linear, lambda node: 2 * node.inputs[0].size, synapse=True),
    "EventConv2d": Op(None, _event_conv, _event_conv_scratch, synapse=True),
    "MaxPool2d": Op(_pool_shape, _maxpool),
    "Rescale": Op(_same("int32"), _rescale, shares=True),
    "EMPF": Op(_same("uint8", "int32"), _empf, updates=((1, 0),)),
    "ParallelEMPF": Op(_same("uint8"), _parallel_empf),
    "LIF": Op(_same("uint8", "int32"), _lif, updates=((1, 0),)),
    "LeakyIntegrate": Op(_same("int32"), _leaky_integrate, updates=((0, 0),)),
    "Trace": Op(_same("int32"), _trace, updates=((0, 0),)),
    "NextStep": Op(_same("int32"), _next_step, updates=((0, 0),)),
    "LearnReadout": Op(
        _like(0, 1, 5),
        _learn_readout,
        lambda node: 4 * node.inputs[0].shape[0],
        updates=((0, 0), (1, 1), (2, 5)),
    ),
    "GuardedMeans": Op(lambda _, attributes: [("int32", (1, attributes["groups"][0]))], _guarded_means, synapse=True),
    "GuardCheck": Op(_like(6, 7, 8, 9, 10), _guard_check, updates=((0, 6), (1, 7), (2, 8), (3, 9), (4, 10))),
    "LearnMeans": Op(
        _like(0, 1, 2, 3),
        _learn_means,
        lambda node: 2 * _trace_of(node).size,
        updates=((0, 0), (1, 1), (2, 2), (3, 3)),
    ),
    "GuardDecide": Op(_like(1), _guard_decide, writes=True),
}
INFER: dict[str, Infer] = {name: op.infer for name, op in OPS.items() if op.infer is not None}
