"""Generated C as text: a model's constants, layer functions and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgesnn.errors import ExportError
from edgesnn.export.c_graph import Array, Graph, Node, Tensor
from edgesnn.export.c_kernels import other_orders
from edgesnn.export.c_memory import scratch_name
from edgesnn.export.c_ops import C_TYPES, OPS
from edgesnn.export.c_plan import Layer, Program
from edgesnn.export.c_text import comment

KINDS = {"state": "ESNN_STATE", "param": "ESNN_PARAM", "learner": "ESNN_LEARNER"}


def identifier(name: str) -> str:
    """A C identifier for a graph name."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def array(values: Array, width: int = 120) -> str:
    """Lines of comma-separated integers, indented by four, at most `width` columns wide."""
    lines, line = [], "   "
    for number in values.ravel().tolist():
        item = f" {number},"
        if len(line) + len(item) > width:
            lines.append(line)
            line = "   "
        line += item
    return "\n".join([*lines, line])


def constant(name: str, values: Array) -> str:
    """Definition of a constant array."""
    shape = ", ".join(map(str, values.shape))
    c_type = C_TYPES[str(values.dtype)]
    return f"/* [{shape}] */\nstatic const {c_type} {identifier(name)}[{values.size}] = {{\n{array(values)}\n}};\n"


@dataclass(frozen=True)
class References:
    """Operands as seen in one graph's functions: arguments, places in the arena, constants."""

    graph: Graph

    def identifier(self, name: str) -> str:
        return identifier(name)

    def pointer(self, tensor: Tensor) -> str:
        place = self._place(tensor)
        return place if tensor.index is None else f"({place} + {self.scalar(tensor.index)} * {tensor.size})"

    def scalar(self, tensor: Tensor) -> str:
        if tensor.index is not None:
            return f"{self._place(tensor)}[{self.scalar(tensor.index)}]"
        if tensor.kind == "input":
            return tensor.place
        if tensor.kind == "constant":
            return str(int(self.graph.constants[tensor.place].item()))
        return f"*{self._place(tensor)}"

    def _place(self, tensor: Tensor) -> str:
        """Where the bytes of a tensor begin, or of the table that it is picked from."""
        if tensor.kind == "input":
            return tensor.place
        if tensor.kind == "constant":
            return identifier(tensor.place)
        return f"AT({C_TYPES[tensor.dtype]}, {identifier(tensor.place)})"

    def scratch(self, node: Node, c_type: str) -> str:
        return f"AT({c_type}, {identifier(scratch_name(node))})"


def offsets(program: Program) -> str:
    """Enumerators with the offsets of the persistent tensors, then of all that is scratch."""
    persistent = {tensor.name: tensor.offset for tensor in program.model.tensors}
    arenas = [arena for arena in (program.step_arena, program.learn_arena) if arena is not None]
    scratch = {name: buffer.offset for arena in arenas for name, buffer in arena.buffers.items()}
    _check_identifiers([*persistent, *scratch])
    groups = {"kept between steps": persistent, "scratch, valid within one call": scratch}
    return "".join(
        f"    /* {title} */\n" + "".join(f"    AT_{identifier(name)} = {offset},\n" for name, offset in group.items())
        for title, group in groups.items()
    )


def constants(program: Program) -> str:
    """All constants that C reads by address, and the factory values of the parameters; equal ones are stored once."""
    by_address: dict[str, Array] = {}
    for graph in (program.step, program.learn):
        if graph is not None:
            by_address |= {name: graph.constants[name] for name in _addressed(graph)}
    factory = {f"{t.name}.factory": program.model.factory[t.name] for t in program.model.tensors if t.kind == "param"}
    _check_identifiers([*by_address, *factory])
    others = _other_orders(program.step)
    known: dict[tuple[object, ...], str] = {}
    lines = []
    for name, values in (by_address | factory).items():
        other = others.get(name, {})
        key = (str(values.dtype), values.tobytes(), *((macro, words.tobytes()) for macro, words in other.items()))
        same = known.setdefault(key, name)
        if same != name:
            lines.append(f"#define {identifier(name)} {identifier(same)}\n")
        else:
            lines.append(_by_core(name, values, other))
    return "\n".join(lines)


def _by_core(name: str, values: Array, others: Mapping[str, Array]) -> str:
    """A constant, in another order on some cores."""
    if not others:
        return constant(name, values)
    cases = [f"#{'el' * (number > 0)}if {macro}\n{constant(name, words)}"
             for number, (macro, words) in enumerate(others.items())]  # fmt: skip
    return "".join([*cases, f"#else\n{constant(name, values)}#endif\n"])


def _other_orders(graph: Graph) -> dict[str, dict[str, Array]]:
    """Weights that some cores want in another order: the macros of these cores, and the words."""
    return {w.place: other_orders(node, graph.constants[w.place]) for node in graph.nodes
            for w in node.inputs[1:2] if w.kind == "constant"}  # fmt: skip


def _addressed(graph: Graph) -> Iterable[str]:
    """Names of constants that are not written out as numbers, in order of use."""
    uses = [t for node in graph.nodes for t in node.inputs if t.kind == "constant"]
    return dict.fromkeys(t.place for t in uses if t.size > 1 or t.index is not None or _is_array(t, graph))


def _is_array(tensor: Tensor, graph: Graph) -> bool:
    """A tensor of one element that some kernel takes by address all the same: weights, multipliers, biases."""
    return any(node.inputs[i].place == tensor.place for node in graph.nodes for i in OPS[node.op].arrays)


def _check_identifiers(names: Sequence[str]) -> None:
    taken: dict[str, str] = {}
    for name in names:
        other = taken.setdefault(identifier(name), name)
        if other != name:
            raise ExportError(
                f"{name}: expected names that differ in letters, digits or underscores, got {other} as well; "
                "rename a layer"
            )


def functions(program: Program, layers: Sequence[Layer], graph: Graph, kind: str) -> str:
    """One function for each layer; `kind` is `layer` or `learn`."""
    refs = References(graph)
    return "\n".join(_function(program.model.name, kind, i, layer, refs) for i, layer in enumerate(layers))


def function_name(model: str, kind: str, index: int, layer: Layer) -> str:
    return f"{model}_{kind}_{index}_{identifier(layer.name)}"


def _function(model: str, kind: str, index: int, layer: Layer, refs: References) -> str:
    body = [line for node in layer.nodes for line in OPS[node.op].call(node, refs)]
    comment = "\n".join(f" * {_describe(node)}" for node in layer.nodes)
    head = f"static ESNN_NOINLINE void {function_name(model, kind, index, layer)}({_parameters(layer)})"
    statements = "\n".join(f"    {line}" for line in body)
    return f"/*\n{comment}\n */\n{head} {{\n{statements}\n}}\n"


def _describe(node: Node) -> str:
    shapes = [f"[{', '.join(map(str, node.inputs[0].shape[1:] or node.inputs[0].shape))}]",
              f"[{', '.join(map(str, node.outputs[0].shape[1:] or node.outputs[0].shape))}]"]  # fmt: skip
    return comment(f"{node.name}: {node.op} {shapes[0]} -> {shapes[1]}")


_INPUTS = {"x": "const void *x", "label": "int32_t label"}


def _arguments(layer: Layer) -> list[str]:
    """The graph inputs that a layer reads."""
    return sorted({t.place for node in layer.nodes for t in node.inputs if t.kind == "input"})


def _parameters(layer: Layer) -> str:
    return ", ".join(["uint8_t *arena", *(_INPUTS[name] for name in _arguments(layer))])


def calls(program: Program, layers: Sequence[Layer], kind: str) -> str:
    """The calls of all layer functions, in order."""
    return "\n".join(
        f"    {function_name(program.model.name, kind, i, layer)}({', '.join(['arena', *_arguments(layer)])});"
        for i, layer in enumerate(layers)
    )


def read_y(program: Program) -> str:
    """The statement that hands out the logits."""
    y = program.step.y
    if y is None or y.dtype != "int32":
        raise ExportError(f"{program.model.name}: expected an output y of int32, got {y}; export again")
    return f"    memcpy(y, {References(program.step).pointer(y)}, {y.size} * sizeof *y);"


def tensor_table(program: Program) -> str:
    """Rows of the table of persistent tensors."""
    return "".join(
        f"    {{AT_{identifier(t.name)}, {t.nbytes}, {KINDS[t.kind]}, "
        f"{identifier(t.name + '.factory') if t.kind == 'param' else 'NULL'}}},\n"
        for t in program.model.tensors
    )


def vectors_array(c_type: str, name: str, values: Array) -> str:
    """Definition of one array of test vectors, a row per line group."""
    rows = np.atleast_2d(values)
    body = "\n".join(f"    {{\n{array(row, 116)}\n    }}," for row in rows)
    return f"static const {c_type} {name}[{rows.shape[0]}][{rows[0].size}] = {{\n{body}\n}};\n"
