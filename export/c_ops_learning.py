"""The functions of learning that C supports: for each, shapes, scratch memory and the call of its kernel."""

from __future__ import annotations

from edgesnn.export.c_graph import Node, Tensor
from edgesnn.export.c_op import Op, Refs, call, like


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


LEARNING: dict[str, Op] = {
    "LearnReadout": Op(
        like(0, 1, 5),
        _learn_readout,
        lambda node: 4 * node.inputs[0].shape[0],
        updates=((0, 0), (1, 1), (2, 5)),
    ),
    "GuardedMeans": Op(lambda _, attributes: [("int32", (1, attributes["groups"][0]))], _guarded_means, synapse=True),
    "GuardCheck": Op(like(6, 7, 8, 9, 10), _guard_check, updates=((0, 6), (1, 7), (2, 8), (3, 9), (4, 10))),
    "LearnMeans": Op(
        like(0, 1, 2, 3),
        _learn_means,
        lambda node: 2 * _trace_of(node).size,
        updates=((0, 0), (1, 1), (2, 2), (3, 3)),
    ),
    "GuardDecide": Op(like(1), _guard_decide, writes=True),
}
