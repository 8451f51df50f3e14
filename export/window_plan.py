"""What of a step graph can run once for all steps of a window, and what runs one step after the other.

T time steps, N batch. x is [T, N, ...], or, where it is held, one [N, ...] for all steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import onnx

from edgesnn.runtime.graph import NEW


class Kind(Enum):
    """How often a group of nodes runs in a window."""

    ONCE = "all it reads is the same at every step"
    TOGETHER = "all steps as one batch of T*N"
    STEPS = "one step after the other: it reads a state, or a parameter of its own for each step"


@dataclass(frozen=True)
class Group:
    """Nodes that need each other over time, in the order of the graph; most are alone."""

    nodes: list[onnx.NodeProto]
    kind: Kind

    def reads(self) -> Iterator[str]:
        """Names of the inputs; an optional one that is left out has none."""
        return (name for node in self.nodes for name in node.input if name)

    def writes(self) -> Iterator[str]:
        return (name for node in self.nodes for name in node.output if name)


@dataclass(frozen=True)
class Plan:
    """The groups in an order in which they can run.

    `becomes` names, for a value, the state that it is the new value of, either by its name or through an Identity.
    `scalars` are the values of one step that have no batch axis: parameters gathered with the time index.
    """

    groups: list[Group]
    states: set[str]
    becomes: dict[str, str]
    scalars: set[str]


def plan(graph: onnx.GraphProto, *, held: bool) -> Plan:
    """The groups of a step graph; with `held`, x is the same at every step."""
    states = {entry.name.removesuffix(NEW) for entry in graph.output if entry.name.endswith(NEW)}
    becomes = {name + NEW: name for name in states} | {
        node.input[0]: node.output[0].removesuffix(NEW) for node in graph.node if _keeps_state(node)
    }
    changing = set() if held else {"x"}
    scalars: set[str] = set()
    groups = []
    for nodes in _recurrences(graph, becomes):
        read = {name for node in nodes for name in node.input}
        if len(nodes) > 1 or read & (states | scalars):
            kind = Kind.STEPS
            scalars.update(name for node in nodes if node.op_type == "Gather" for name in node.output)
        else:
            kind = Kind.TOGETHER if read & changing else Kind.ONCE
        group = Group(nodes, kind)
        if kind is not Kind.ONCE:
            changing.update(group.writes())
        groups.append(group)
    return Plan(groups, states, becomes, scalars)


def _recurrences(graph: onnx.GraphProto, becomes: dict[str, str]) -> list[list[onnx.NodeProto]]:
    """The nodes in an order in which they can run, those that need each other over time together.

    A node needs what writes its inputs; of a state, what writes its new value, as it runs before the next step. The
    groups are the strongly connected components of these needs (Tarjan, SIAM J. Comput. 1972), which come out needed
    ones first; nodes that are alone keep the order of the graph. Nodes that only name a new state are left out.
    """
    nodes = [node for node in graph.node if not _keeps_state(node)]
    outputs = [(name, i) for i, node in enumerate(nodes) for name in node.output]
    writers = dict(outputs) | {becomes[name]: i for name, i in outputs if name in becomes}
    found: dict[int, int] = {}  # node -> how many were found before it
    lowest: dict[int, int] = {}  # node -> the first found that it needs, of those without a group
    waiting: list[int] = []
    groups: list[list[onnx.NodeProto]] = []

    def visit(i: int) -> None:
        lowest[i] = found[i] = len(found)
        waiting.append(i)
        for needed in (writers[name] for name in nodes[i].input if name in writers):
            if needed not in found:
                visit(needed)
                lowest[i] = min(lowest[i], lowest[needed])
            elif needed in waiting:
                lowest[i] = min(lowest[i], found[needed])
        if lowest[i] == found[i]:
            start = waiting.index(i)
            groups.append([nodes[member] for member in sorted(waiting[start:])])
            del waiting[start:]

    for i in range(len(nodes)):
        if i not in found:
            visit(i)
    return groups


def _keeps_state(node: onnx.NodeProto) -> bool:
    """Whether the node only names a value as the new value of a state."""
    return node.op_type == "Identity" and node.output[0].endswith(NEW)
