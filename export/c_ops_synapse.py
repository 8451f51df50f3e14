"""Synapses in C: inputs x and w, output a. The kernels are declared in runtime/c/src/esnn_kernels.h."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgesnn.export.c_graph import Infer, Node, Tensor
from edgesnn.export.c_op import Attributes, Kinds, Op, Refs, call, format_of
from edgesnn.export.c_window import grouped_window, image_shape, window


def _patch_bytes(fan_in: int) -> int:
    """ESNN_PATCH: the fan-in rounded up to 16, in int16."""
    return -(-fan_in // 16) * 16 * 2


def _binary_linear_scratch(node: Node) -> int:
    """From ESNN_TABLE_LEAST outputs on, room for the tables of ESNN_TABLE_SCRATCH."""
    patch = _patch_bytes(node.inputs[0].size)
    return max(patch, 2048) if node.outputs[0].size >= 24 else patch


def _linear_shape(inputs: tuple[Tensor, ...], _: Attributes) -> Kinds:
    return [("int32", (1, inputs[1].shape[0]))]


def _linear(kernel: str) -> Callable[[Node, Refs], list[str]]:
    def emit(node: Node, refs: Refs) -> list[str]:
        x, w = node.inputs
        return [call(kernel, refs.pointer(x), format_of(x), refs.pointer(w), refs.scratch(node, "int16_t"),
                      refs.pointer(node.outputs[0]), x.size, w.shape[0])]  # fmt: skip

    return emit


def _kernel(w: Tensor, attributes: Attributes) -> tuple[int, ...]:
    """[O, C, kh, kw] of a convolution: packed weights name it in an attribute."""
    return tuple(attributes.get("kernel", w.shape))


def _conv_shape(inputs: tuple[Tensor, ...], attributes: Attributes) -> Kinds:
    x, w = inputs
    outputs, _, *kernel = _kernel(w, attributes)
    return [("int32", image_shape(x, outputs, kernel, attributes))]


def _conv(kernel: str) -> Callable[[Node, Refs], list[str]]:
    def emit(node: Node, refs: Refs) -> list[str]:
        x, w = node.inputs
        declaration, address = window(node, _kernel(w, node.attributes)[2:], refs)
        return [declaration, call(kernel, refs.pointer(x), format_of(x), refs.pointer(w),
                                   refs.scratch(node, "int16_t"), refs.pointer(node.outputs[0]), address)]  # fmt: skip

    return emit


def _event_linear(node: Node, refs: Refs) -> list[str]:
    x, rows = node.inputs
    return [call("esnn_event_linear", refs.pointer(x), refs.pointer(rows), refs.scratch(node, "uint16_t"),
                  refs.pointer(node.outputs[0]), x.size, node.outputs[0].size)]  # fmt: skip


def _event_conv(node: Node, refs: Refs) -> list[str]:
    x, rows = node.inputs
    declaration, address = window(node, node.attributes["kernel"][2:], refs)
    return [declaration, call("esnn_event_conv2d", refs.pointer(x), refs.pointer(rows),
                               refs.scratch(node, "uint16_t"), refs.pointer(node.outputs[0]), address)]  # fmt: skip


def _event_packed_conv(node: Node, refs: Refs) -> list[str]:
    x, rows = node.inputs
    declaration, address = window(node, node.attributes["kernel"][2:], refs)
    return [declaration, call("esnn_event_packed_conv2d", refs.pointer(x), refs.pointer(rows), node.attributes["bits"],
                               refs.scratch(node, "uint16_t"), refs.pointer(node.outputs[0]), address)]  # fmt: skip


def _event_conv_scratch(node: Node) -> int:
    """The rows of a window, and ESNN_EVENT_RECORD for each row of the kernel, in uint16."""
    width = node.inputs[0].shape[3]
    _, channels, rows, columns = node.attributes["kernel"]
    record = width * channels + (width + 1) * -(-channels // 32)
    return 2 * rows * (columns * channels + record)


def _conv_scratch(node: Node) -> int:
    """Two windows of inputs."""
    return 2 * _patch_bytes(int(np.prod(_kernel(node.inputs[1], node.attributes)[1:])))


def _binary_conv_scratch(node: Node) -> int:
    """Four pixels of each block of 32 inputs and where these are, and rows of the padded input: ESNN_BAND_WIDTH.

    Or tables and rearranged weights, from ESNN_TABLE_CONV_* on. Groups are one convolution after the other.
    """
    outputs, channels, *kernel = _kernel(node.inputs[1], node.attributes)
    outputs //= node.attributes.get("group", 1)
    (_, _, rows, columns), strides = node.outputs[0].shape, node.attributes["strides"]
    places, groups = kernel[0] * kernel[1], min(-(-channels // 8), 4)
    width = (-(-columns // 4) * 4 - 1) * strides[1] + kernel[1]
    band = 256 * -(-channels * places // 32) + (channels * kernel[0] + 1) * width
    pays = channels >= 6 and rows * columns >= 16 and outputs * places >= 32 * strides[0] * strides[1]
    return max(band, groups * (1024 + places * outputs)) if pays else band


# Groups, dilations, packed weights.


def _grouped_conv(kernel: str) -> Callable[[Node, Refs], list[str]]:
    def emit(node: Node, refs: Refs) -> list[str]:
        x, w = node.inputs
        declaration, address = grouped_window(node, _kernel(w, node.attributes)[2:], refs)
        bits = [node.attributes["bits"]] if "bits" in node.attributes else []
        return [declaration, call(kernel, refs.pointer(x), format_of(x), refs.pointer(w), *bits,
                                   refs.scratch(node, "int16_t"), refs.pointer(node.outputs[0]), address)]  # fmt: skip

    return emit


def _packed_linear(node: Node, refs: Refs) -> list[str]:
    x, w = node.inputs
    return [call("esnn_packed_linear", refs.pointer(x), format_of(x), refs.pointer(w), node.attributes["bits"],
                  refs.scratch(node, "int16_t"), refs.pointer(node.outputs[0]), x.size,
                  node.outputs[0].size)]  # fmt: skip


def _event_packed_linear(node: Node, refs: Refs) -> list[str]:
    x, w = node.inputs
    return [call("esnn_event_packed_linear", refs.pointer(x), refs.pointer(w), node.attributes["bits"],
                  refs.scratch(node, "uint16_t"), refs.pointer(node.outputs[0]), x.size,
                  node.outputs[0].size)]  # fmt: skip


def _synapse(infer: Infer | None, emit: Callable[[Node, Refs], list[str]], scratch: Callable[[Node], int]) -> Op:
    return Op(infer, emit, scratch, synapse=True, arrays=(1,))


SYNAPSES: dict[str, Op] = {
    "Linear": _synapse(_linear_shape, _linear("esnn_linear"), lambda node: _patch_bytes(node.inputs[0].size)),
    "BinaryLinear": _synapse(_linear_shape, _linear("esnn_binary_linear"), _binary_linear_scratch),
    "Conv2d": _synapse(_conv_shape, _conv("esnn_conv2d"), _conv_scratch),
    "BinaryConv2d": _synapse(_conv_shape, _conv("esnn_binary_conv2d"), _binary_conv_scratch),
    "GroupedConv2d": _synapse(_conv_shape, _grouped_conv("esnn_grouped_conv2d"), _conv_scratch),
    "GroupedBinaryConv2d": _synapse(_conv_shape, _grouped_conv("esnn_grouped_binary_conv2d"), _binary_conv_scratch),
    "PackedLinear": _synapse(_linear_shape, _packed_linear, lambda node: _patch_bytes(node.inputs[0].size)),
    "PackedConv2d": _synapse(_conv_shape, _grouped_conv("esnn_packed_conv2d"), _conv_scratch),
    "EventLinear": _synapse(None, _event_linear, lambda node: 2 * node.inputs[0].size),
    "EventConv2d": _synapse(None, _event_conv, _event_conv_scratch),
    "EventPackedLinear": _synapse(None, _event_packed_linear, lambda node: 2 * node.inputs[0].size),
    "EventPackedConv2d": _synapse(None, _event_packed_conv, _event_conv_scratch),
}
