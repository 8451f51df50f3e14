"""A NIR graph as the chain that it must be: one node after the other, from its input to its output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nir
import numpy as np

from edgesnn.errors import InteropError
from edgesnn.interop import nir_file


@dataclass(frozen=True)
class NirChain:
    """The nodes between input and output, in order; the shape of a sample; the graph they are from."""

    place: str
    graph: nir.NIRGraph
    input_shape: tuple[int, ...]
    nodes: list[tuple[str, nir.NIRNode]]


def read_chain(source: str | Path | nir.NIRGraph) -> NirChain:
    """Read a file, or take a graph, and put its nodes in order.

    Raises:
        InteropError: it cannot be read, or is not a chain.
    """
    graph, place = (source, "graph") if isinstance(source, nir.NIRGraph) else (_read(Path(source)), str(source))
    inputs, outputs = list(graph.inputs), list(graph.outputs)
    if len(inputs) != 1 or len(outputs) != 1:
        raise InteropError(
            f"{place}: expected one input and one output, got {len(inputs)} and {len(outputs)}; export one network"
        )
    after: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for start, end in graph.edges:
        if start not in after or end not in after:
            raise InteropError(f"{place}: expected edges between its nodes, got {start} -> {end}; export it again")
        after[start].append(end)
    names, here = [], inputs[0]
    while here != outputs[0]:
        if len(after[here]) != 1:
            raise InteropError(
                f"{place}, node {here}: expected a chain, where one node follows, got {len(after[here])} "
                f"{after[here]}; branches and recurrence are not taken over"
            )
        here = after[here][0]
        if here in names:
            raise InteropError(f"{place}, node {here}: expected a chain, got a loop; recurrence is not taken over")
        names.append(here)
    left = set(graph.nodes) - {*names, inputs[0]}
    if left:
        raise InteropError(f"{place}: expected a chain of all nodes, got {sorted(left)} beside it; export it again")
    shape = tuple(int(side) for side in np.ravel(graph.nodes[inputs[0]].input_type["input"]))
    return NirChain(place, graph, shape, [(name, graph.nodes[name]) for name in names[:-1]])


def _read(path: Path) -> nir.NIRGraph:
    node = nir_file.read(path)
    if not isinstance(node, nir.NIRGraph):
        raise InteropError(f"{path}: expected a graph, got a single {type(node).__name__}; write the whole network")
    return node
