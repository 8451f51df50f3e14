"""What stands between synapses and neurons, in C: rescaling and sums of currents, pooling."""

from __future__ import annotations

from onnx import TensorProto

from edgesnn.errors import ExportError
from edgesnn.export.c_graph import Infer, Node, Tensor
from edgesnn.export.c_op import Attributes, Kinds, Op, Refs, call, format_of, same, struct
from edgesnn.export.c_window import image_shape, window


def _pool_shape(dtype: str | None = None) -> Infer:
    """Windows of one channel each, of `dtype` or that of the input."""

    def infer(inputs: tuple[Tensor, ...], attributes: Attributes) -> Kinds:
        x = inputs[0]
        return [(dtype or x.dtype, image_shape(x, x.shape[1], attributes["kernel_shape"], attributes))]

    return infer


def _max_pool(node: Node, refs: Refs) -> list[str]:
    x, y = node.inputs[0], node.outputs[0]
    declaration, address = window(node, node.attributes["kernel_shape"], refs)
    return [declaration, call("esnn_maxpool2d", refs.pointer(x), format_of(x), refs.pointer(y), address)]


def _sum_pool(node: Node, refs: Refs) -> list[str]:
    x, a = node.inputs[0], node.outputs[0]
    declaration, address = window(node, node.attributes["kernel_shape"], refs)
    return [declaration, call("esnn_sum_pool2d", refs.pointer(x), format_of(x), refs.pointer(a), address)]


def _average_pool(node: Node, refs: Refs) -> list[str]:
    declaration, address = window(node, node.attributes["kernel_shape"], refs)
    return [declaration, call("esnn_average_pool2d", refs.pointer(node.inputs[0]), refs.pointer(node.outputs[0]),
                               address, node.attributes["M"], node.attributes["shift"])]  # fmt: skip


def _upsampled(inputs: tuple[Tensor, ...], attributes: Attributes) -> Kinds:
    x, rows, columns = inputs[0], attributes["rows"], attributes["columns"]
    if not all(0 <= at < side for picked, side in zip((rows, columns), x.shape[2:], strict=True) for at in picked):
        raise ExportError(f"{x.place}: expected rows and columns within {x.shape[2:]}, got {rows} and {columns}")
    return [(x.dtype, (*x.shape[:2], len(rows), len(columns)))]


def enlarged(kernel: str, node: Node, refs: Refs, small: Tensor, large: Tensor) -> list[str]:
    """A kernel on the input and the output, one of which has the pixels of the other at several places."""
    declarations, addresses = [], []
    for axis in ("rows", "columns"):
        addresses.append(f"{refs.identifier(node.name)}_{axis}")
        values = ", ".join(map(str, node.attributes[axis]))
        declarations.append(f"static const uint16_t {addresses[-1]}[] = {{{values}}};")
    (x,), (y,) = node.inputs, node.outputs
    return [*declarations, call(kernel, refs.pointer(x), refs.pointer(y), *small.shape[1:], *addresses,
                                *large.shape[2:])]  # fmt: skip


def _upsample(node: Node, refs: Refs) -> list[str]:
    return enlarged("esnn_upsample2d", node, refs, node.inputs[0], node.outputs[0])


def _rescale(node: Node, refs: Refs) -> list[str]:
    return [call("esnn_rescale", *map(refs.pointer, (*node.inputs, *node.outputs)), *_channels(node),
                  node.attributes["shift"], node.attributes.get("lift", 0))]  # fmt: skip


def _requantized(inputs: tuple[Tensor, ...], attributes: Attributes) -> Kinds:
    return [({TensorProto.UINT8: "uint8", TensorProto.INT8: "int8"}[attributes["to"]], inputs[0].shape)]


def _requantize(node: Node, refs: Refs) -> list[str]:
    return [call("esnn_requantize", *map(refs.pointer, (*node.inputs, *node.outputs)), *_channels(node),
                  node.attributes["shift"], node.attributes["bits"], format_of(node.outputs[0]))]  # fmt: skip


def _channels(node: Node) -> tuple[int, int]:
    """(outputs, pixels) of a rescale, which has a multiplier and a bias for each output."""
    a, multiplier, bias = node.inputs
    outputs = a.shape[1]
    if multiplier.size != outputs or bias.size != outputs:
        raise ExportError(f"{node.name}: expected one multiplier and one bias for each of {outputs} channels, got "
                          f"{multiplier.size} and {bias.size}; export again")  # fmt: skip
    return outputs, a.size // outputs


def _widen(node: Node, refs: Refs) -> list[str]:
    x, y = node.inputs[0], node.outputs[0]
    return [call("esnn_widen", refs.pointer(x), format_of(x), refs.pointer(y), x.size)]


def _add(node: Node, refs: Refs) -> list[str]:
    return [call("esnn_add", *map(refs.pointer, (*node.inputs, *node.outputs)), node.outputs[0].size)]


def attention_constants(node: Node, refs: Refs) -> tuple[str, str]:
    """Definition of the constants of an attention or of its gradient, and their address."""
    *_, current, context, kernel, table = node.inputs
    channels, numbers = current.shape[1], ("pixels", "mean", "mean_shift", "shift")
    if not current.size == context.size == channels * node.attributes["pixels"]:
        raise ExportError(
            f"{node.name}: expected {node.attributes['pixels']} pixels, got {list(current.shape)} and "
            f"{list(context.shape)}; export again"
        )
    fields = {"kernel": refs.pointer(kernel), "table": refs.pointer(table), "channels": channels}
    fields |= {"kernel_size": kernel.size} | {name: node.attributes[name] for name in numbers}
    return struct(node, refs, "esnn_attention", fields)


def _attention(node: Node, refs: Refs) -> list[str]:
    current, context, *_ = node.inputs
    declaration, address = attention_constants(node, refs)
    return [declaration, call("esnn_channel_attention", refs.pointer(current), refs.pointer(context),
                               refs.scratch(node, "int32_t"), refs.pointer(node.outputs[0]), address)]  # fmt: skip


CURRENTS: dict[str, Op] = {
    "MaxPool2d": Op(_pool_shape(), _max_pool),
    "PaddedMaxPool2d": Op(_pool_shape(), _max_pool),
    "SumPool2d": Op(_pool_shape("int32"), _sum_pool),
    "AveragePool2d": Op(_pool_shape("uint8"), _average_pool),
    "Upsample2d": Op(_upsampled, _upsample),
    "Rescale": Op(same("int32"), _rescale, shares=(0,), arrays=(1, 2)),
    "Requantize": Op(_requantized, _requantize, arrays=(1, 2)),
    "Widen": Op(same("int32"), _widen),
    "Add": Op(same("int32"), _add, shares=(0, 1)),
    "ChannelAttention": Op(
        same("int32"), _attention, lambda node: 4 * node.inputs[0].shape[1], shares=(0, 1), arrays=(2, 3)
    ),
}
