"""What a model costs in C: its layers, and the flash and RAM of each, checked against a board."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgesnn.boards import load as load_board
from edgesnn.errors import BudgetError
from edgesnn.export.bounds import intervals
from edgesnn.export.c_graph import Graph, Node, read
from edgesnn.export.c_kernels import choose
from edgesnn.export.c_memory import ArenaPlan, plan, scratch_name
from edgesnn.export.c_ops import INFER, OPS
from edgesnn.runtime.model import Model


@dataclass(frozen=True)
class Layer:
    """Consecutive nodes that become one C function: a synapse and what follows it."""

    name: str
    nodes: tuple[Node, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a step, as if every spike and weight were used: sums times fan-in."""
        return sum(_sums(node) * _fan_in(node) for node in self.nodes if OPS[node.op].synapse)


def _sums(synapse: Node) -> int:
    """Sums of products: one an output, or one a row of weights where an output is the best of several."""
    return max(synapse.outputs[0].size, _rows(synapse))


def _rows(synapse: Node) -> int:
    """Outputs, or channels of a convolution, that have weights of their own."""
    return int(synapse.attributes.get("kernel", synapse.inputs[1].shape)[0])


def _fan_in(synapse: Node) -> int:
    """Inputs of one output: in the node where weights are packed, else in the shape of the weights [O, ...]."""
    weights = synapse.inputs[1]
    return int(synapse.attributes.get("fan_in", weights.size // weights.shape[0]))


@dataclass(frozen=True)
class LayerBytes:
    """Bytes of one layer: constants and factory values in flash; persistent tensors and scratch in RAM."""

    name: str
    flash_bytes: int
    persistent_bytes: int
    scratch_bytes: int


@dataclass(frozen=True)
class Program:
    """A model as C: its graphs, layers and arena."""

    model: Model
    step: Graph
    learn: Graph | None
    step_layers: tuple[Layer, ...]
    learn_layers: tuple[Layer, ...]
    step_arena: ArenaPlan
    learn_arena: ArenaPlan | None
    arena_bytes: int

    @property
    def layers(self) -> list[LayerBytes]:
        """Bytes by layer of the step; a tensor that several layers use counts for the first."""
        seen: set[str] = set()
        return [self._layer_bytes(layer, seen) for layer in self.step_layers]

    @property
    def flash_bytes(self) -> int:
        """Constants and factory values; code comes on top and is known when the program is linked."""
        constants = self.step.constants | (self.learn.constants if self.learn else {})
        factory = [self.model.factory[tensor.name] for tensor in self.model.tensors if tensor.kind == "param"]
        stored = {(str(array.dtype), array.tobytes()): array.nbytes for array in (*constants.values(), *factory)}
        return sum(stored.values())

    @property
    def weights(self) -> int:
        """Number of synaptic weights, however few bits each has."""
        synapses = [node for layer in self.step_layers for node in layer.nodes if OPS[node.op].synapse]
        return sum(_rows(node) * _fan_in(node) for node in synapses)

    def _layer_bytes(self, layer: Layer, seen: set[str]) -> LayerBytes:
        operands = [t for node in layer.nodes for t in (*node.inputs, *node.outputs)]
        new = {t.place: t for t in operands if t.place not in seen and t.kind in ("constant", "persistent")}
        seen |= new.keys()
        params = {tensor.name for tensor in self.model.tensors if tensor.kind == "param"}
        constants = sum(self.step.constants[name].nbytes for name, t in new.items() if t.kind == "constant")
        factory = sum(t.nbytes for name, t in new.items() if name in params)
        persistent = sum(t.nbytes for t in new.values() if t.kind == "persistent")
        return LayerBytes(layer.name, constants + factory, persistent, self._scratch_bytes(layer))

    def _scratch_bytes(self, layer: Layer) -> int:
        """Span of arena that the layer's values and scratch buffers touch."""
        buffers = self.step_arena.buffers
        names = {scratch_name(node) for node in layer.nodes} | {
            tensor.place for node in layer.nodes for tensor in (*node.inputs, *node.outputs)
        }
        used = {id(buffers[name]): buffers[name].nbytes for name in names if name in buffers}
        return sum(used.values())


def group(graph: Graph) -> tuple[Layer, ...]:
    """A new layer starts at each synapse and has its name up to the last dot; what precedes the first belongs to it."""
    starts = [i for i, node in enumerate(graph.nodes) if OPS[node.op].synapse] or [0]
    bounds = [0, *starts[1:], len(graph.nodes)]
    return tuple(
        Layer(graph.nodes[start].name.rpartition(".")[0] or graph.nodes[start].name, graph.nodes[first:last])
        for start, first, last in zip(starts, bounds[:-1], bounds[1:], strict=True)
    )


def program(model: Model) -> Program:
    """Read a folder's graphs and lay out its memory.

    Raises:
        ModelError: a graph is missing or corrupted.
        ExportError: a graph holds what C does not support, or for which no bound can be shown.
    """
    step = choose(read(model.graph("step").graph, model.tensors, INFER), intervals(model.graph("step")))
    learn = read(model.graph("learn").graph, model.tensors, INFER) if model.learn else None
    step_arena = plan(step, model.snapshot_bytes)
    learn_arena = plan(learn, model.snapshot_bytes) if learn else None
    return Program(
        model, step, learn, group(step), group(learn) if learn else (), step_arena, learn_arena,
        max(step_arena.end, learn_arena.end if learn_arena else 0),
    )  # fmt: skip


def c_plan(directory: str | Path) -> Program:
    """What an exported folder would cost in C, without writing anything.

    Raises:
        ModelError, ExportError: as `program`.
    """
    return program(Model.load(directory))


def check_budget(program: Program, board_id: str) -> None:
    """Refuse a model whose constants or arena alone exceed a board; code and stack are checked when it is linked.

    Raises:
        BoardError: the board is unknown.
        BudgetError: with the bytes of each layer.
    """
    board = load_board(board_id)
    needs = {
        "flash": (program.flash_bytes, board.flash_bytes, [layer.flash_bytes for layer in program.layers]),
        "RAM": (program.arena_bytes, board.ram_bytes,
                [layer.persistent_bytes + layer.scratch_bytes for layer in program.layers]),
    }  # fmt: skip
    for memory, (needed, available, by_layer) in needs.items():
        if available is not None and needed > available:
            names = (layer.name for layer in program.layers)
            parts = ", ".join(f"{name} {nbytes}" for name, nbytes in zip(names, by_layer, strict=True))
            raise BudgetError(
                f"{program.model.name} on {board_id}: expected at most {available} bytes of {memory}, got "
                f"{needed} ({parts}); use fewer channels or a larger board"
            )
