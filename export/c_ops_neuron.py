"""Neurons, integrators, ring buffers and the time index, in C: they update what persists in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgesnn.errors import ExportError
from edgesnn.export.c_graph import Node, Tensor
from edgesnn.export.c_op import Attributes, Kinds, Op, Refs, call, same


def by_channel(kernel: str, values: int, *constants: str) -> Callable[[Node, Refs], list[str]]:
    """A kernel on so many inputs of a value for each neuron; the others are numbers of all, or of each channel."""

    def emit(node: Node, refs: Refs) -> list[str]:
        own, numbers = node.inputs[:values], node.inputs[values:]
        arrays, attributes = [*own, node.outputs[0]], [node.attributes[name] for name in constants]
        if all(number.size == 1 for number in numbers):
            return [call(kernel, *map(refs.pointer, arrays), own[0].size, *map(refs.scalar, numbers), *attributes)]
        _, channels, *image = own[0].shape
        _check_channels(node, numbers, (channels, *[1] * len(image)))
        pixels = own[0].size // channels
        places = [f"{refs.pointer(array)} + c * {pixels}" for array in arrays]
        of_channel = [refs.scalar(number) if number.size == 1 else f"{refs.pointer(number)}[c]" for number in numbers]
        return [f"for (uint32_t c = 0; c < {channels}; c++) {{",
                f"    {call(kernel, *places, pixels, *of_channel, *attributes)}", "}"]  # fmt: skip

    return emit


def _check_channels(node: Node, numbers: Sequence[Tensor], shape: tuple[int, ...]) -> None:
    for number in numbers:
        if number.size != 1 and number.shape[-len(shape) :] != shape:
            raise ExportError(
                f"{node.name}: expected {number.place} with one number, or one a channel as {list(shape)}, got "
                f"{list(number.shape)}; export again"
            )


def _leaky_integrate(node: Node, refs: Refs) -> list[str]:
    acc, current, leak = node.inputs
    return [call("esnn_leaky_integrate", refs.pointer(acc), refs.pointer(current), acc.size, refs.scalar(leak))]


def _trace(node: Node, refs: Refs) -> list[str]:
    trace, spikes, leak = node.inputs
    return [call("esnn_trace", refs.pointer(trace), refs.pointer(spikes), trace.size, refs.scalar(leak),
                  node.attributes["gain"], node.attributes["limit"])]  # fmt: skip


def _next_step(node: Node, refs: Refs) -> list[str]:
    t = refs.pointer(node.inputs[0])
    return [f"*{t} = (*{t} + 1) % {node.attributes['steps']};"]


def _last_step(node: Node, refs: Refs) -> list[str]:
    (t,), steps = node.inputs, node.attributes["steps"]
    return [f"*{refs.pointer(node.outputs[0])} = ({refs.scalar(t)} + {steps - 1}) % {steps};"]


def _taps(inputs: tuple[Tensor, ...], attributes: Attributes) -> Kinds:
    past, x, position = inputs
    kept = [(past.dtype, past.shape), (position.dtype, position.shape)]
    return [(x.dtype, (1, attributes["taps"] * x.size)), *kept]


def _delay(node: Node, refs: Refs) -> list[str]:
    past, x, position = node.inputs
    return [call("esnn_delay", *map(refs.pointer, (past, x, position, node.outputs[0])), past.shape[1], x.size,
                  node.attributes["taps"], node.attributes["dilation"])]  # fmt: skip


NEURONS: dict[str, Op] = {
    "EMPF": Op(same("uint8", "int32"), by_channel("esnn_empf", 2, "k", "bits"), updates=((1, 0),)),
    "GainEMPF": Op(None, by_channel("esnn_empf_gain", 2, "k", "bits"), updates=((1, 0),)),
    "ParallelEMPF": Op(same("uint8"), by_channel("esnn_parallel_empf", 1, "k", "bits")),
    "LIF": Op(same("uint8", "int32"), by_channel("esnn_lif", 2), updates=((1, 0),)),
    "LIFDrop": Op(same("uint8", "int32"), by_channel("esnn_lif_drop", 2), updates=((1, 0),)),
    "LIFClear": Op(same("uint8", "int32"), by_channel("esnn_lif_clear", 2), updates=((1, 0),)),
    "LeakyIntegrate": Op(same("int32"), _leaky_integrate, updates=((0, 0),)),
    "Trace": Op(same("int32"), _trace, updates=((0, 0),)),
    "Delay": Op(_taps, _delay, updates=((1, 0), (2, 2))),
    "NextStep": Op(same("int32"), _next_step, updates=((0, 0),)),
    "LastStep": Op(same("int32"), _last_step),
}
