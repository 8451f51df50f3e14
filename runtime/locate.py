"""Where a difference begins: the first node, in the order of the graph, that gave another integer than the reference.

One run is repeated from the snapshot before it, on the reference with every value of the graph as an output, and on the
backend with as many as it can show: all of them where it runs the graph itself, else `y` and the persistent tensors.
T time steps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import onnx

from edgesnn.runtime.graph import NEW, GraphSession
from edgesnn.runtime.model import Array, Model
from edgesnn.runtime.ort import OrtSession
from edgesnn.runtime.reference import ReferenceSession
from edgesnn.runtime.session import Session

#: Sessions that run the graph of a `Watched` model.
_SHOWS_ALL = (ReferenceSession, OrtSession)


@dataclass(frozen=True)
class Run:
    """One run of a graph: the snapshot before it and what it was given."""

    graph: str  # "step", "learn" or "window"
    before: bytes
    frames: Array  # [1, ...] of a step, [T, ...] of a window, [0, ...] of learning
    label: int = -1


class Watched(Model):
    """A model whose graphs have every value of a node as an output."""

    def graph(self, name: str) -> onnx.ModelProto:
        proto = onnx.ModelProto()
        proto.CopyFrom(super().graph(name))
        known = {entry.name for entry in proto.graph.output}
        names = [name for node in proto.graph.node for name in node.output if name and name not in known]
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        return proto


def locate(session: Session, run: Run) -> str:
    """One line: the node whose value differs first, the flat index and both values there, and what that is based on.

    Args:
        session: of the backend that differed; its tensors are changed.
        run: the run in which it did.
    """
    model = session.model
    expected = _expected(model, run)
    all_shown = isinstance(session, _SHOWS_ALL)
    got = _values(type(session)(Watched(model.path, model.step)) if all_shown else session, run)
    agreed = "the input"
    for node in model.graph(run.graph).graph.node:
        shown = [name for name in node.output if name in expected and name in got]
        for name in shown:
            if (found := _difference(expected[name], got[name])) is not None:
                seen = f"every value before {'it' if node.op_type != 'Scan' else 'its Scan'} is equal"
                if not all_shown:
                    seen = f"seen in outputs and states alone, of which {agreed} is the last that is equal"
                at = _in_body(node, name) if node.op_type == "Scan" else node
                return f"{at.name} ({at.op_type}){_c_function(session, at.name)}: {name}{found}; {seen}"
        if shown and node.op_type != "NextStep":
            agreed = node.name
    return "not found again: one more run from the same snapshot gave equal values in every node"


def _expected(model: Model, run: Run) -> dict[str, Array]:
    """The values of every node by the reference; of a window, those of its steps, named as the window names them."""
    with ReferenceSession(Watched(model.path, model.step)) as reference:
        reference.restore(run.before)
        if run.graph == "learn":
            return reference.evaluate("learn", label=run.label)
        steps = [reference.evaluate("step", frame[None]) for frame in run.frames]
    if run.graph == "step":
        return steps[0]
    values: dict[str, Array] = {}
    for name in steps[0]:
        values |= {f"{name}.{t}": step[name] for t, step in enumerate(steps)}
        values[f"{name}.all"] = np.concatenate([step[name] for step in steps])
        values[f"{name}.steps"] = np.stack([step[name] for step in steps])
        if name.endswith(NEW):
            values[name] = steps[-1][name]
    values["y"] = np.stack([step["y"] for step in steps])
    return values


def _values(session: Session, run: Run) -> dict[str, Array]:
    """What a backend shows of the run."""
    session.restore(run.before)
    if isinstance(session, GraphSession):
        if run.graph == "learn":
            return session.evaluate("learn", label=run.label)
        if run.graph == "step":
            return session.evaluate("step", run.frames)
        x = run.frames[:1] if session.window_spec.held else run.frames[:, None]
        return session.evaluate("window", x, steps=len(run.frames))
    values = {}
    if run.graph == "learn":
        session.learn(run.label)
    else:
        values["y"] = session.step(run.frames[0])[None]
    return values | {name + NEW: tensor for name, tensor in session.tensors().items()}


def _in_body(scan: onnx.NodeProto, name: str) -> onnx.NodeProto:
    """The node of the body that gives an output of a Scan its value at each step."""
    body = next(entry.g for entry in scan.attribute if entry.name == "body")
    local = body.output[list(scan.output).index(name)].name
    if local.endswith(".out"):  # a copy of the value of the step
        local = f"{local.removesuffix('.out')}.t"
    return next((node for node in body.node if local in node.output), scan)


def _difference(expected: Array, got: Array) -> str | None:
    """Flat index, index and both values of the first difference; None where there is none."""
    if expected.shape != got.shape:
        return f": expected shape {expected.shape}, got {got.shape}"
    where = np.flatnonzero(expected != got)
    if not len(where):
        return None
    flat = int(where[0])
    index = [int(i) for i in np.unravel_index(flat, expected.shape)]
    return f" flat index {flat} {index}: expected {expected.flat[flat]}, got {got.flat[flat]}"


def _c_function(session: Session, node: str) -> str:
    """The C function of a node, where the backend runs the generated C: its comment lists its nodes."""
    source = session.model.path / "c" / "src" / f"{session.model.name}.c"
    if isinstance(session, GraphSession) or not source.is_file():
        return ""
    text = source.read_text(encoding="utf-8")
    for comment, function in re.findall(r"/\*\n((?: \* .*\n)+) \*/\nstatic ESNN_NOINLINE void (\w+)\(", text):
        if any(line.startswith(f" * {node}: ") for line in comment.splitlines()):
            return f" in {function} of {source.name}"
    return ""
