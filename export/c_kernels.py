"""Which kernel a node of the step gets in C, given what is proven about its operands.

The ONNX graph says what is computed; a faster kernel that gives the same integers may need a property of its inputs, or
its constants in another layout:

- `Linear` and `Conv2d` with constant weights on inputs of 0 and 1 become `EventLinear` and `EventConv2d`, whose work
  grows with the spikes that were fired; their weights are stored as `event_rows` lays them out. Spikes from a ring
  buffer are no such inputs: a state that was loaded may hold anything, and these kernels would run out of their lists.
- `PackedLinear` and `PackedConv2d` get their weights as `packed_rows` lays them out; on inputs of 0 and 1 they become
  `EventPackedLinear` and `EventPackedConv2d`, unless the latter has groups or gaps. A convolution whose groups have too
  few outputs for that becomes one of int8 weights.
- `Rescale` is told how far its input can be shifted up (`lift`), so that one word of the product is enough.
- `EMPF` with a leak outside [0, 1] becomes `GainEMPF`.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesnn.export.bounds import Interval
from edgesnn.export.c_graph import Graph, Node, Tensor
from edgesnn.export.fixed_point import Q15
from edgesnn.export.pack import unpack_fields

Array = NDArray[Any]

#: Outputs of a wide and of a narrow block of rows, and what is added to a weight to make it unsigned.
WIDE, NARROW, WEIGHT_BIAS = 16, 4, 128
#: Rows that a signed index of 16 bits can tell apart.
MOST_ROWS = 2**15
#: Nodes with constant weights on binary spikes, and what they become.
EVENT = {"Linear": "EventLinear", "Conv2d": "EventConv2d"}
_ROWS, _INT8, _EVENTS = ".rows", ".int8", ".events"
#: Nodes with packed weights, and what they become on binary spikes.
_PACKED = {"PackedLinear": "EventPackedLinear", "PackedConv2d": "EventPackedConv2d"}


def choose(graph: Graph, intervals: Mapping[str, Interval]) -> Graph:
    """The same graph for the kernels chosen; constants in another layout take the place of those nothing reads then.

    Args:
        graph: the step as read from ONNX.
        intervals: the proven range of each value, by name.
    """
    nodes, constants = [], dict(graph.constants)
    delayed = {node.outputs[0].place for node in graph.nodes if node.op == "Delay"}
    for node in graph.nodes:
        if node.op in EVENT and _is_event(node, intervals, delayed):
            weights = node.inputs[1]
            constants[weights.place + _ROWS] = event_rows(graph.constants[weights.place])
            nodes.append(_event(node, constants[weights.place + _ROWS]))
        elif node.op in _PACKED:
            packed = _packed(node, graph.constants, _is_binary(node.inputs[0], intervals, delayed))
            constants |= packed[1]
            nodes.append(packed[0])
        elif node.op == "Rescale":
            nodes.append(replace(node, attributes=node.attributes | {"lift": _lift(node, intervals)}))
        elif node.op == "EMPF" and _amplifies(graph.constants.get(node.inputs[2].place)):
            nodes.append(replace(node, op="GainEMPF"))
        else:
            nodes.append(node)
    read = {tensor.place for node in nodes for tensor in _operands(node)}
    return Graph(tuple(nodes), {name: array for name, array in constants.items() if name in read}, graph.y)


def event_rows(weights: Array) -> Array:
    """int8 [O, C] or [O, C, kh, kw] -> words uint32 [n], stored for adding (runtime/c/src/esnn_event.h).

    Blocks of 16 outputs, then blocks of 4; a block holds a row of bytes w + 128 for each input, lowest first, the
    inputs of a convolution in the order [kh, kw, C]; rows are filled up with zeros.
    """
    outputs = len(weights)
    by_input = np.moveaxis(weights, 1, -1).reshape(outputs, -1).T  # [inputs, O]
    wide = outputs // WIDE * WIDE
    padded = np.zeros((len(by_input), wide + -(-(outputs - wide) // NARROW) * NARROW), np.uint8)
    padded[:, :outputs] = by_input.astype(np.int16) + WEIGHT_BIAS
    blocks = [padded[:, at : at + WIDE] for at in range(0, wide, WIDE)]
    blocks += [padded[:, at : at + NARROW] for at in range(wide, padded.shape[1], NARROW)]
    return np.concatenate([block.ravel() for block in blocks]).view("<u4").astype(np.uint32)


def packed_rows(weights: Array, bits: int) -> Array:
    """Weights [O, fan_in] of 2 or 4 bits -> words uint32 [n] (runtime/c/src/esnn_packed.c).

    Blocks of as many outputs as a word has fields, the first in the lowest bits; a block holds a word for each input,
    with fields w + 2^(bits-1), zeros where there are no more outputs.
    """
    width, (outputs, fan_in) = 32 // bits, weights.shape
    fields = np.zeros((-(-outputs // width) * width, fan_in), np.uint64)
    fields[:outputs] = weights + 2 ** (bits - 1)
    shifts = np.arange(0, 32, bits, dtype=np.uint64)[:, None]
    return (fields.reshape(-1, width, fan_in) << shifts).sum(axis=1).astype(np.uint32).ravel()


def dsp_rows(rows: Array, fan_in: int) -> Array:
    """The words of `packed_rows` as Arm DSP instructions read them (runtime/c/src/esnn_packed_dsp.c): uint32 [n].

    The low half of a block's words, then the high half; each for two inputs a word, the first in its low half.
    """
    halves = rows.astype("<u4").view("<u2").reshape(-1, fan_in, 2).swapaxes(1, 2)  # [blocks, half, inputs]
    return np.pad(halves, ((0, 0), (0, 0), (0, fan_in % 2))).ravel().view("<u4").astype(np.uint32)


def helium_rows(rows: Array, outputs: int) -> Array:
    """The words of `event_rows` as Helium adds them (runtime/c/src/esnn_event_mve.c): uint32 [n].

    A row for each input with the bytes of all outputs beside each other; those of odd outputs are signed.
    """
    width = -(-outputs // NARROW) * NARROW
    stored = rows.astype("<u4").view(np.uint8)
    inputs, wide = stored.size // width, outputs // WIDE * WIDE
    split = stored[: wide * inputs].reshape(-1, inputs, WIDE), stored[wide * inputs :].reshape(-1, inputs, NARROW)
    by_input = np.concatenate([blocks.swapaxes(0, 1).reshape(inputs, -1) for blocks in split], axis=1)
    by_input[:, 1::2] ^= WEIGHT_BIAS
    return by_input.ravel().view("<u4").astype(np.uint32)


def unpacked_rows(rows: Array, outputs: int, fan_in: int, bits: int) -> Array:
    """The fields w + 2^(bits-1) of the words of `packed_rows`: uint8 [O, fan_in]."""
    shifts = np.arange(0, 32, bits, dtype=np.uint32)[:, None]
    fields = rows.reshape(-1, 1, fan_in) >> shifts & (2**bits - 1)  # [blocks, outputs of a block, fan_in]
    return fields.reshape(-1, fan_in)[:outputs].astype(np.uint8)


def helium_packed_rows(rows: Array, outputs: int, fan_in: int, bits: int) -> Array:
    """The words of `packed_rows` as Helium multiplies them (runtime/c/src/esnn_packed_mve.c): bytes [n], uint8.

    A row for each output, of blocks of 16 bytes: field k of byte l is that of input 16k + l of the block. What is left
    of a row has as many bytes as inputs, 16 at most.
    """
    lanes, width = 16, 8 // bits
    block = lanes * width
    padded = np.pad(unpacked_rows(rows, outputs, fan_in, bits), ((0, 0), (0, -fan_in % block)))
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    stored = (padded.reshape(outputs, -1, width, lanes) << shifts).sum(axis=2).astype(np.uint8)
    return stored.reshape(outputs, -1)[:, : fan_in // block * lanes + min(fan_in % block, lanes)].ravel()


def helium_event_packed_rows(rows: Array, outputs: int, fan_in: int, bits: int) -> Array:
    """The words of `packed_rows` as Helium adds them (runtime/c/src/esnn_event_packed_mve.c): uint32 [n].

    A row for each input with the fields of all outputs beside each other; the upper one of two of 4 bits is signed.
    """
    width = 32 // bits
    fields = np.pad(unpacked_rows(rows, outputs, fan_in, bits), ((0, -outputs % width), (0, 0))).T
    by_byte = fields.reshape(fan_in, -1, 8 // bits)
    if bits == 4:
        by_byte = by_byte ^ np.array([0, 8], np.uint8)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return _words((by_byte << shifts).sum(axis=2).astype(np.uint8).ravel())


def other_orders(node: Node, rows: Array) -> dict[str, Array]:
    """The macros of the cores that want the weights of a node in another order, the first that holds, and these words.

    Args:
        node: of a chosen graph.
        rows: its stored weights.
    """
    if node.op in EVENT.values():
        return {"ESNN_MVE": helium_rows(rows, node.attributes["kernel"][0])}
    if node.op not in (*_PACKED, *_PACKED.values()):
        return {}
    fan_in, bits, groups = node.attributes["fan_in"], node.attributes["bits"], node.attributes.get("group", 1)
    outputs = node.attributes["kernel"][0] // groups
    if node.op in _PACKED.values():
        return {"ESNN_MVE": helium_event_packed_rows(rows, outputs, fan_in, bits)}
    by_group = [helium_packed_rows(part, outputs, fan_in, bits) for part in np.split(rows, groups)]
    return {"ESNN_MVE": _words(np.concatenate(by_group)), "ESNN_DSP": dsp_rows(rows, fan_in)}


def _words(stored: Array) -> Array:
    """Bytes as words, the first in the lowest bits, filled up with zeros."""
    return np.pad(stored, (0, -stored.size % 4)).view("<u4").astype(np.uint32)


def _operands(node: Node) -> list[Tensor]:
    """The tensors a node reads, the time index of a parameter per time step among them."""
    indices = [tensor.index for tensor in node.inputs if tensor.index is not None]
    return [*node.inputs, *indices]


def _is_event(node: Node, intervals: Mapping[str, Interval], delayed: Set[str]) -> bool:
    x, weights = node.inputs
    few = max(weights.size // weights.shape[0], weights.shape[0]) < MOST_ROWS
    return weights.kind == "constant" and few and _is_binary(x, intervals, delayed)


def _is_binary(x: Tensor, intervals: Mapping[str, Interval], delayed: Set[str]) -> bool:
    """Whether a value is proven to hold 0 and 1, whatever the states are."""
    low, high = intervals.get(x.place, (0, 255))
    return x.kind == "value" and x.dtype == "uint8" and low >= 0 and high <= 1 and x.place not in delayed


def _event(node: Node, rows: Array) -> Node:
    """The node with its weights stored as rows; what their shape said is an attribute."""
    x, weights = node.inputs
    stored = Tensor("constant", weights.place + _ROWS, str(rows.dtype), rows.shape)
    attributes = node.attributes | {"fan_in": int(np.prod(weights.shape[1:])), "kernel": weights.shape}
    return Node(EVENT[node.op], node.name, (x, stored), node.outputs, attributes)


def _packed(node: Node, constants: Mapping[str, Array], binary: bool) -> tuple[Node, dict[str, Array]]:
    """The node with its weights stored for its kernel, and these weights by name."""
    weights, at = node.inputs[1], node.attributes
    bits, fan_in, groups = at["bits"], at["fan_in"], at.get("group", 1)
    values = unpack_fields(constants[weights.place], fan_in, bits)
    kernel = tuple(at.get("kernel", values.shape))
    if binary and max(fan_in, len(values)) < MOST_ROWS and groups == 1 and set(at.get("dilations", ())) <= {1}:
        by_place = np.moveaxis(values.reshape(kernel), 1, -1).reshape(values.shape)
        stored, attributes = packed_rows(by_place, bits), {**at, "kernel": kernel}
        return _stored(node, _PACKED[node.op], weights.place + _EVENTS, stored, attributes)
    outputs, width = len(values) // groups, 32 // bits
    if -(-outputs // width) * width > 2 * outputs and node.op == "PackedConv2d":
        attributes = {name: value for name, value in at.items() if name != "bits"}
        return _stored(node, "GroupedConv2d", weights.place + _INT8, values.astype(np.int8).reshape(kernel), attributes)
    stored = np.concatenate([packed_rows(part, bits) for part in np.split(values, groups)])
    return _stored(node, node.op, weights.place + _ROWS, stored, {**at, "kernel": kernel})


def _stored(
    node: Node, op: str, name: str, stored: Array, attributes: dict[str, Any]
) -> tuple[Node, dict[str, Array]]:  # fmt: skip
    weights = Tensor("constant", name, str(stored.dtype), stored.shape)
    return Node(op, node.name, (node.inputs[0], weights), node.outputs, attributes), {name: stored}


def _lift(node: Node, intervals: Mapping[str, Interval]) -> int:
    """Bits to shift the input of a Rescale up, so that its shift exceeds 32; 0 if it does, or if they are not free."""
    lift = max(33 - int(node.attributes["shift"]), 0)
    low, high = intervals.get(node.inputs[0].place, (-(2**31), 2**31 - 1))
    return lift if max(-low, high) << lift < 2**31 else 0


def _amplifies(leak: Array | None) -> bool:
    """Whether a constant leak, in Q15, is outside [0, 1]."""
    return leak is not None and bool(leak.min() < 0 or leak.max() > Q15)
