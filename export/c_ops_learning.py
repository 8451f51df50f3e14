"""The functions of learning that C supports: for each, shapes, scratch memory and the call of its kernel."""

from __future__ import annotations

import math
from collections.abc import Callable

from edgesnn.export.c_graph import Infer, Node, Tensor
from edgesnn.export.c_op import Attributes, Op, Refs, call, format_of, like, struct
from edgesnn.export.c_ops_current import attention_constants, enlarged
from edgesnn.export.c_ops_neuron import by_channel
from edgesnn.export.c_window import grouped_window_over, window_over


def _learn_readout(node: Node, refs: Refs) -> list[str]:
    weight, bias, trace, multiplier, label, count = node.inputs
    name = f"{refs.identifier(node.name)}_readout"
    numbers = (*weight.shape, *(f"{node.attributes[key]}u" for key in ("shift", "weight_shift", "bias_shift", "seed")))
    return [
        f"static const esnn_readout {name} = {{{', '.join(map(str, (refs.pointer(multiplier), *numbers)))}}};",
        call("esnn_learn_readout", refs.pointer(weight), refs.pointer(bias), refs.pointer(trace), refs.scalar(label),
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
        call("esnn_guarded_means", *pointers, refs.scalar(use), refs.pointer(node.outputs[0]), address),
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
        call("esnn_guard_check", *map(refs.pointer, (trace, weight, bias)), refs.scalar(label), f"&{guard}", address),
    ]


def _learn_means(node: Node, refs: Refs) -> list[str]:
    *learned, factory_mean, metric, trace, label, run = node.inputs
    declaration, address = _constants(node, refs, {
        "factory_mean": refs.pointer(factory_mean), "metric": refs.pointer(metric),
        "metric_shift": node.attributes["shift"],
        **{name: node.attributes[name] for name in ("settle", "prior", "most", "bias_limit")},
    })  # fmt: skip
    pointers = map(refs.pointer, (*learned, trace))
    return [declaration, call("esnn_learn_means", *pointers, refs.scalar(label), refs.scalar(run),
                               refs.scratch(node, "int16_t"), address)]  # fmt: skip


def _guard_decide(node: Node, refs: Refs) -> list[str]:
    count, *counters = node.inputs
    decided = call("esnn_guard_decide", refs.pointer(count), *map(refs.scalar, counters), *node.attributes["groups"])
    return [f"*{refs.pointer(node.outputs[0])} = {decided}"]


# Learning in every layer: K classes, C inputs and O outputs of a layer.

#: Of esnn_active, for each input.
_ACTIVE_BYTES = 8


def _retain(node: Node, refs: Refs) -> list[str]:
    kept, value = node.inputs
    return [call("memcpy", refs.pointer(kept), refs.pointer(value), kept.nbytes)]


def _readout_error(node: Node, refs: Refs) -> list[str]:
    weight, bias, trace, multiplier, label = node.inputs
    classes, inputs = weight.shape
    declaration, address = struct(node, refs, "esnn_readout", {
        "multiplier": refs.pointer(multiplier), "classes": classes, "inputs": inputs,
        "shift": node.attributes["shift"],
    })  # fmt: skip
    pointers = map(refs.pointer, (weight, bias, trace))
    return [
        declaration,
        call("esnn_readout_error", *pointers, refs.scalar(label), refs.pointer(node.outputs[0]), address),
    ]


def _backward(kernel: str) -> Callable[[Node, Refs], list[str]]:
    def emit(node: Node, refs: Refs) -> list[str]:
        g, _ = node.inputs
        pointers = map(refs.pointer, (*node.inputs, *node.outputs))
        return [call(kernel, *pointers, g.size, node.outputs[0].size)]

    return emit


def _image(inputs: tuple[Tensor, ...], attributes: Attributes) -> tuple[int, ...]:
    """[1, C, H, W] of what a convolution with weights w saw."""
    return (1, _kernel(inputs[1], attributes)[1] * attributes["group"], *attributes["size"])


def _kernel(w: Tensor, attributes: Attributes) -> tuple[int, ...]:
    """[O, C/groups, kh, kw]: packed weights name it in an attribute."""
    return tuple(attributes.get("kernel", w.shape))


def _variant(kernel: str, attributes: Attributes) -> str:
    """The kernel for windows whose places are apart, or for those whose places are not."""
    return kernel.format("" if list(attributes["dilations"]) == [1, 1] else "dilated_")


def _backward_conv(kernel: str) -> Callable[[Node, Refs], list[str]]:
    def emit(node: Node, refs: Refs) -> list[str]:
        (g, w), (back,) = node.inputs, node.outputs
        declaration, window = grouped_window_over(node, back, g, _kernel(w, node.attributes)[2:], refs)
        return [declaration, call(_variant(kernel, node.attributes), *map(refs.pointer, (g, w, back)), window)]

    return emit


def _backward_maxpool(node: Node, refs: Refs) -> list[str]:
    (g, x), (back,) = node.inputs, node.outputs
    declaration, window = window_over(node, back, g, node.attributes["kernel_shape"], refs)
    pointers = refs.pointer(g), refs.pointer(x), format_of(x), refs.pointer(back)
    return [declaration, call("esnn_backward_maxpool2d", *pointers, window)]


def _backward_sum_pool(node: Node, refs: Refs) -> list[str]:
    (g,), (back,) = node.inputs, node.outputs
    declaration, window = window_over(node, back, g, node.attributes["kernel_shape"], refs)
    return [declaration, call("esnn_backward_sum_pool2d", refs.pointer(g), refs.pointer(back), window)]


def _backward_upsample(node: Node, refs: Refs) -> list[str]:
    return enlarged("esnn_backward_upsample2d", node, refs, node.outputs[0], node.inputs[0])


def _backward_delay(node: Node, refs: Refs) -> list[str]:
    """The newest tap is the last."""
    (g,), (back,) = node.inputs, node.outputs
    return [call("memcpy", refs.pointer(back), f"{refs.pointer(g)} + {g.size - back.size}", back.nbytes)]


def _attention_gradient(node: Node, refs: Refs) -> list[str]:
    declaration, address = attention_constants(node, refs)
    return [declaration, call("esnn_attention_gradient", *map(refs.pointer, node.inputs[:3]),
                               refs.scratch(node, "int32_t"), refs.pointer(node.outputs[0]), address,
                               node.attributes["sum_shift"], node.attributes["out_shift"])]  # fmt: skip


def _clamp_gradient(node: Node, refs: Refs) -> list[str]:
    g, y = node.inputs
    return [call("esnn_clamp_gradient", refs.pointer(g), refs.pointer(y), format_of(y), refs.pointer(node.outputs[0]),
                 g.size, node.attributes["low"], node.attributes["high"])]  # fmt: skip


def _descent(node: Node, refs: Refs) -> tuple[str, str]:
    """Constants of descent on a matrix of weights, one row an output; that of 1-bit weights are their latents'."""
    outputs, *fan_in = node.inputs[-4].shape
    return struct(node, refs, "esnn_descent", {
        "inputs": math.prod(fan_in), "outputs": outputs, "limit": node.attributes["limit"],
        "shift": node.attributes["shift"], "seed": f"{node.attributes['seed']}u",
    })  # fmt: skip


def _learn_linear(kernel: str) -> Callable[[Node, Refs], list[str]]:
    def emit(node: Node, refs: Refs) -> list[str]:
        *learned, x, step, count = node.inputs
        declaration, address = _descent(node, refs)
        return [declaration, call(kernel, *map(refs.pointer, (*learned, x)), format_of(x), refs.pointer(step),
                                  refs.scalar(count), refs.scratch(node, "esnn_active"), address)]  # fmt: skip

    return emit


def _learn_conv(kernel: str) -> Callable[[Node, Refs], list[str]]:
    def emit(node: Node, refs: Refs) -> list[str]:
        *learned, x, step, count = node.inputs
        declaration, address = _descent(node, refs)
        geometry, window = grouped_window_over(node, x, step, learned[-1].shape[2:], refs)
        return [declaration, geometry, call(_variant(kernel, node.attributes), *map(refs.pointer, (*learned, x)),
                                            format_of(x), refs.pointer(step), refs.scalar(count),
                                            refs.scratch(node, "uint32_t"), address, window)]  # fmt: skip

    return emit


def _conv_scratch(node: Node) -> int:
    """A sum of 64 bits and a random number for each weight of an output."""
    return 12 * math.prod(node.inputs[-4].shape[1:])


def _learn_threshold(node: Node, refs: Refs) -> list[str]:
    """The kernel of one threshold, or that of several, which is told how many neurons have each."""
    theta, *row, g, multiplier, count = node.inputs
    size = theta.size // theta.shape[0] if row else theta.size
    place = " + ".join([refs.pointer(theta), *(f"{refs.scalar(at)} * {size}" for at in row)])
    kernel, channels = ("esnn_learn_threshold", []) if size == 1 else ("esnn_learn_thresholds", [size])
    return [call(kernel, place, *channels, refs.pointer(g), g.size // size, node.attributes["limit"],
                 refs.scalar(multiplier), refs.scalar(count), node.attributes["shift"],
                 f"{node.attributes['seed']}u")]  # fmt: skip


def _learn_bias(node: Node, refs: Refs) -> list[str]:
    bias, e, count = node.inputs
    return [call("esnn_learn_bias", refs.pointer(bias), refs.pointer(e), bias.size, refs.pointer(count),
                 node.attributes["shift"], f"{node.attributes['seed']}u")]  # fmt: skip


def _as(dtype: str, shape: Callable[[tuple[Tensor, ...], Attributes], tuple[int, ...]]) -> Infer:
    """One output of this type."""
    return lambda inputs, attributes: [(dtype, shape(inputs, attributes))]


#: An image of the gradient's channels, of the size that an attribute names.
_of_size = _as("int32", lambda inputs, attributes: (*inputs[0].shape[:2], *attributes["size"]))

LEARNING: dict[str, Op] = {
    "Retain": Op(like(0), _retain, updates=((0, 0),)),
    "ReadoutError": Op(_as("int32", lambda inputs, _: (1, inputs[0].shape[0])), _readout_error, arrays=(3,)),
    "BackwardLinear": Op(
        _as("int32", lambda inputs, _: (1, inputs[1].shape[1])), _backward("esnn_backward_linear"), arrays=(1,)
    ),
    "BackwardBinaryLinear": Op(
        _as("int32", lambda _, attributes: (1, attributes["fan_in"])),
        _backward("esnn_backward_binary_linear"),
        arrays=(1,),
    ),
    "BackwardConv2d": Op(_as("int32", _image), _backward_conv("esnn_backward_{}conv2d"), arrays=(1,)),
    "BackwardBinaryConv2d": Op(_as("int32", _image), _backward_conv("esnn_backward_{}binary_conv2d"), arrays=(1,)),
    "BackwardMaxPool2d": Op(_as("int32", lambda inputs, _: inputs[1].shape), _backward_maxpool),
    "BackwardSumPool2d": Op(_of_size, _backward_sum_pool),
    "BackwardUpsample2d": Op(_of_size, _backward_upsample),
    "BackwardDelay": Op(
        _as("int32", lambda inputs, attributes: (1, inputs[0].size // attributes["taps"])), _backward_delay
    ),
    "AttentionGradient": Op(like(0), _attention_gradient, lambda node: 8 * node.inputs[0].shape[1], arrays=(3, 4)),
    "ClampGradient": Op(like(0), _clamp_gradient, shares=(0,)),
    "EMPFGradient": Op(like(0), by_channel("esnn_empf_gradient", 2, "k"), shares=(0,)),
    "ParallelEMPFGradient": Op(like(0), by_channel("esnn_parallel_empf_gradient", 2, "k", "bits"), shares=(0,)),
    "LIFGradient": Op(like(0), by_channel("esnn_lif_gradient", 3, "width", "shift"), shares=(0,)),
    "LIFDropGradient": Op(like(0), by_channel("esnn_lif_drop_gradient", 3, "width", "shift"), shares=(0,)),
    "LIFClearGradient": Op(like(0), by_channel("esnn_lif_clear_gradient", 3, "width", "shift"), shares=(0,)),
    "LearnLinear": Op(
        like(0),
        _learn_linear("esnn_learn_linear"),
        lambda node: _ACTIVE_BYTES * node.inputs[1].size,
        updates=((0, 0),),
    ),
    "LearnBinaryLinear": Op(
        like(0, 1),
        _learn_linear("esnn_learn_binary_linear"),
        lambda node: _ACTIVE_BYTES * node.inputs[2].size,
        updates=((0, 0), (1, 1)),
    ),
    "LearnConv2d": Op(like(0), _learn_conv("esnn_learn_{}conv2d"), _conv_scratch, updates=((0, 0),)),
    "LearnBinaryConv2d": Op(
        like(0, 1), _learn_conv("esnn_learn_{}binary_conv2d"), _conv_scratch, updates=((0, 0), (1, 1))
    ),
    "LearnThreshold": Op(like(0), _learn_threshold, updates=((0, 0),)),
    "LearnThresholdAt": Op(like(0), _learn_threshold, updates=((0, 0),)),
    "LearnBias": Op(like(0, 2), _learn_bias, updates=((0, 0), (1, 2))),
    "LearnReadout": Op(
        like(0, 1, 5),
        _learn_readout,
        lambda node: 4 * node.inputs[0].shape[0],
        updates=((0, 0), (1, 1), (2, 5)),
        arrays=(3,),
    ),
    "GuardedMeans": Op(lambda _, attributes: [("int32", (1, attributes["groups"][0]))], _guarded_means, synapse=True),
    "GuardCheck": Op(like(6, 7, 8, 9, 10), _guard_check, updates=((0, 6), (1, 7), (2, 8), (3, 9), (4, 10))),
    "LearnMeans": Op(
        like(0, 1, 2, 3),
        _learn_means,
        lambda node: 2 * _trace_of(node).size,
        updates=((0, 0), (1, 1), (2, 2), (3, 3)),
        arrays=(5,),  # the metric [C, C]; the means are two a class
    ),
    "GuardDecide": Op(like(1), _guard_decide, writes=True),
}
