"""What becomes of an error on its way back through nodes of a step that do not learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgesnn.export.c_graph import Node
from edgesnn.export.error_path import MAXIMA, SUMS, copies, overlap
from edgesnn.export.gradient import LIMIT, Gradient, at_step, in_unit, uniform
from edgesnn.export.learning_graph import LearningGraph


def same(graph: LearningGraph, node: Node, gradient: Gradient) -> None:
    """Widen and Add: the error of the sum is that of each term."""
    for value in node.inputs:
        graph.pass_on(value, gradient)


def rescale(graph: LearningGraph, node: Node, gradient: Gradient) -> None:
    """The worth of an accumulator, by channel: no node, but where it differs by time step."""
    a, m, _ = node.inputs
    factors = graph.factory(m) / 2.0 ** node.attributes["shift"]
    if m.index is None:
        graph.pass_on(a, gradient.times(factors.reshape(-1)))
        return
    table, at = factors.reshape(len(factors), -1), graph.last_step(m.index, len(factors))
    graph.pass_on(a, at_step(graph.builder, gradient, table, at, f"{node.name}.back"))


def requantize(graph: LearningGraph, node: Node, gradient: Gradient) -> None:
    """Straight through where nothing was clipped. What is 0 was not clipped if no current is below."""
    (x, *_), (y,), name = node.inputs, node.outputs, node.name
    signed, bits = y.dtype == "int8", node.attributes["bits"]
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    ends = {"low": low - (graph.path.ranges[x.place][0] >= 0 and not signed), "high": high}
    graph.builder.call("ClampGradient", f"{name}.backward", [gradient.name, graph.read(y)], [f"{name}.g"], **ends)
    rescale(graph, node, Gradient(f"{name}.g", gradient.unit, gradient.bound, gradient.shape))


def maximum(graph: LearningGraph, node: Node, gradient: Gradient) -> None:
    """To the largest pixel of each window."""
    (x,), kernel = node.inputs, node.attributes["kernel_shape"]
    windows = {name: list(node.attributes.get(name, (0, 0, 0, 0))) for name in ("strides", "pads")}
    graph.builder.call("BackwardMaxPool2d", f"{node.name}.backward", [gradient.name, graph.read(x)],
                       [f"{node.name}.g"], kernel_shape=list(kernel), **windows)  # fmt: skip
    bound = gradient.bound * overlap(node, kernel)
    graph.pass_on(x, Gradient(f"{node.name}.g", gradient.unit, bound, x.shape))


def add_up(graph: LearningGraph, node: Node, gradient: Gradient) -> None:
    """A sum or mean of windows: to all pixels of each."""
    (x,), windows = node.inputs, {name: list(node.attributes[name]) for name in ("kernel_shape", "strides", "pads")}
    graph.builder.call("BackwardSumPool2d", f"{node.name}.backward", [gradient.name], [f"{node.name}.g"],
                       size=list(x.shape[2:]), **windows)  # fmt: skip
    bound = gradient.bound * overlap(node, windows["kernel_shape"])
    worth = node.attributes.get("M", 1) / 2.0 ** node.attributes.get("shift", 0)
    graph.pass_on(x, Gradient(f"{node.name}.g", gradient.unit * worth, bound, x.shape))


def enlarge(graph: LearningGraph, node: Node, gradient: Gradient) -> None:
    """To each pixel from all places it went to."""
    (x,), places = node.inputs, {axis: list(node.attributes[axis]) for axis in ("rows", "columns")}
    graph.builder.call("BackwardUpsample2d", f"{node.name}.backward", [gradient.name], [f"{node.name}.g"],
                       size=list(x.shape[2:]), **places)  # fmt: skip
    bound = gradient.bound * copies(node)
    graph.pass_on(x, Gradient(f"{node.name}.g", gradient.unit, bound, x.shape))


def attention(graph: LearningGraph, node: Node, gradient: Gradient) -> None:
    """y = score(context)*I: to the current, as it was scaled, and to the context through the score.

    Sums over pixels of g*I stay below 2^52, errors of the score's argument below 2^27 (`AttentionGradient`).
    """
    b, name, (current, context, kernel, table) = graph.builder, node.name, node.inputs
    numbers = {key: node.attributes[key] for key in ("pixels", "mean", "mean_shift", "shift")}
    constants = [graph.read(context), graph.number(kernel), graph.number(table)]
    if context.place in graph.path.wanted:
        reach = max(map(abs, graph.path.ranges[current.place])) * numbers["pixels"]
        coarser = max(1.0, gradient.bound * reach / 2.0**51)
        even = in_unit(b, gradient, gradient.largest_unit * coarser, f"{name}.even")
        sums = even.bound * reach
        sum_shift = max(1, sums.bit_length() - 26)
        most = ((sums >> sum_shift) + 1) * int(np.abs(graph.factory(kernel)).sum())
        growth = 1 if context.place in graph.path.shared else graph.path.growth[context.place]
        out_shift = max(1, (most // (LIMIT // growth - 2)).bit_length())
        worth = 2.0 ** (sum_shift - 2 + out_shift - 12 - numbers["shift"] - numbers["mean_shift"]) * numbers["mean"]
        b.call("AttentionGradient", f"{name}.backward", [even.name, graph.read(current), *constants],
               [f"{name}.context_g"], **numbers, sum_shift=sum_shift, out_shift=out_shift)  # fmt: skip
        bound = (most >> out_shift) + 1
        graph.pass_on(context, Gradient(f"{name}.context_g", even.unit * worth, bound, context.shape))
    b.call("ChannelAttention", f"{name}.scale", [gradient.name, *constants], [f"{name}.g"], **numbers)
    graph.pass_on(current, Gradient(f"{name}.g", gradient.unit, gradient.bound, current.shape))


def delay(graph: LearningGraph, node: Node, gradient: Gradient) -> None:
    """To the present input alone."""
    x, even = node.inputs[1], uniform(graph.builder, gradient, f"{node.name}.even")
    graph.builder.call("BackwardDelay", f"{node.name}.backward", [even.name], [f"{node.name}.g"],
                       taps=node.attributes["taps"])  # fmt: skip
    graph.pass_on(x, Gradient(f"{node.name}.g", even.unit, even.bound, x.shape))


#: How an error passes the functions that do not learn.
PASSES: dict[str, Callable[[LearningGraph, Node, Gradient], None]] = {
    **dict.fromkeys(MAXIMA, maximum),
    **dict.fromkeys(SUMS, add_up),
    **dict.fromkeys(("Widen", "Add"), same),
    "Rescale": rescale,
    "Requantize": requantize,
    "Upsample2d": enlarge,
    "ChannelAttention": attention,
    "Delay": delay,
}
