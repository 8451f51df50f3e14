"""The arena: persistent tensors first, then one place for every value and scratch buffer while it is alive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgesnn.errors import ExportError
from edgesnn.export.c_graph import Graph, Node, Tensor
from edgesnn.export.c_ops import OPS


@dataclass
class Buffer:
    """Bytes needed from the call of node `first` to that of node `last`, at `offset` from the start of the arena."""

    name: str
    nbytes: int
    first: int
    last: int
    offset: int = 0

    def overlaps(self, other: Buffer) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class ArenaPlan:
    """Where the values of one graph are: value or scratch name -> buffer; `end` is the first byte after all."""

    buffers: dict[str, Buffer]
    end: int


def scratch_name(node: Node) -> str:
    """The name of a node's scratch buffer."""
    return f"{node.name}.scratch"


def plan(graph: Graph, start: int) -> ArenaPlan:
    """Place the values of a graph from byte `start` on.

    Buffers alive at the same time do not overlap; larger ones are placed first, each at the lowest free offset. A value
    that its last reader may overwrite shares its buffer.

    Raises:
        ExportError: a kernel would have to write over a tensor that it does not update in place.
    """
    buffers = _live(graph)
    unique = {id(buffer): buffer for buffer in buffers.values()}.values()
    placed: list[Buffer] = []
    for buffer in sorted(unique, key=lambda b: (-b.nbytes, b.first, b.name)):
        buffer.offset = _lowest_gap(buffer, placed, start)
        placed.append(buffer)
    return ArenaPlan(buffers, max((_end(buffer) for buffer in placed), default=start))


def _live(graph: Graph) -> dict[str, Buffer]:
    last_read = _last_reads(graph)
    buffers: dict[str, Buffer] = {}
    for position, node in enumerate(graph.nodes):
        _check_updates(node)
        op = OPS[node.op]
        if nbytes := op.scratch_bytes(node):
            buffers[scratch_name(node)] = Buffer(scratch_name(node), nbytes, position, position)
        for output in node.outputs:
            if output.kind != "value":
                continue
            last = last_read.get(output.place, position)
            sources = [node.inputs[number] for number in op.shares] if output is node.outputs[0] else []
            free = [source for source in sources if source.kind == "value" and last_read[source.place] == position]
            if free:
                buffers[output.place] = buffers[free[0].place]
                buffers[output.place].last = last
            else:
                buffers[output.place] = Buffer(output.place, output.nbytes, position, last)
    return buffers


def _last_reads(graph: Graph) -> dict[str, int]:
    reads = {
        place.place: position for position, node in enumerate(graph.nodes) for tensor in node.inputs
        for place in (tensor, tensor.index) if place is not None
    }  # fmt: skip
    return reads | ({graph.y.place: len(graph.nodes)} if graph.y is not None else {})


def _check_updates(node: Node) -> None:
    updates = dict(OPS[node.op].updates)
    for number, output in enumerate(node.outputs):
        source: Tensor | None = node.inputs[updates[number]] if number in updates else None
        if source is not None and (source.kind, source.place) != ("persistent", output.place):
            raise ExportError(
                f"{node.name}: expected its output {output.place} to be the new value of the persistent tensor that it "
                f"reads, got {source.place}; C updates it in place"
            )
        if source is None and output.kind == "persistent" and not OPS[node.op].writes:
            raise ExportError(
                f"{node.name}: expected a function that updates {output.place} in place, got {node.op}; "
                "C does not support it"
            )


def _lowest_gap(buffer: Buffer, placed: Sequence[Buffer], start: int) -> int:
    offset = start
    for other in sorted((b for b in placed if b.overlaps(buffer)), key=lambda b: b.offset):
        if offset + buffer.nbytes <= other.offset:
            break
        offset = max(offset, _end(other))
    return offset


def _end(buffer: Buffer) -> int:
    """First free byte after a buffer, aligned to 4."""
    return buffer.offset + -(-buffer.nbytes // 4) * 4
