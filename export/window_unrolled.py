"""A window of T steps whose recurrences are unrolled: step `t` of a value is `name.t`."""

from __future__ import annotations

import onnx
from onnx import helper

from edgesnn.export.builder import BATCH
from edgesnn.export.window_graph import WindowGraph, dims, renamed
from edgesnn.export.window_plan import Group, Kind, Plan
from edgesnn.runtime.graph import NEW


def unrolled(step: onnx.GraphProto, plan: Plan, steps: int, *, held: bool) -> onnx.GraphProto:
    """The graph of `steps` time steps; with `held`, of one x for all of them."""
    return _Unroller(step, plan, steps).run(held)


class _Unroller(WindowGraph):
    def __init__(self, graph: onnx.GraphProto, plan: Plan, steps: int) -> None:
        super().__init__(graph, plan)
        self.steps = steps
        #: The value of a state before each step, and after the last.
        self.history = {name: [name] for name in plan.states}
        #: Values known step by step.
        self.per_step: dict[str, list[str]] = {}

    def run(self, held: bool) -> onnx.GraphProto:
        if held:
            self.still.add("x")
        else:
            self.merge_time("x", "x", dims(self.inputs["x"])[1:])
        for group in self.plan.groups:
            if group.kind is Kind.STEPS:
                self._unroll(group)
            else:
                self.run_together(group.nodes[0], group.kind)
        outputs = [self._window_output(entry) for entry in self.source.output]
        inputs = [entry if held else self._window_input(entry) for entry in self.source.input]
        once = ", of one x for all steps: what reads it alone runs once" if held else ""
        doc = f"{self.steps} time steps at once{once}: synapses batched over T*N, membranes unrolled."
        return helper.make_graph(self.nodes, "window", inputs, outputs, self.constants, doc_string=doc)

    def whole(self, name: str) -> str:
        if name not in self.batched:
            if name in self.still:
                self.per_step[name] = [name] * self.steps
            if name not in self.per_step:
                return name
            self.add("Concat", f"{name}.join", self.per_step[name], [f"{name}.all"], axis=0)
            self.batched.add(name)
        return f"{name}.all"

    def _slices(self, name: str) -> list[str]:
        """The names of a value at each step; splits a batch, repeats what is the same at every step."""
        if name in self.per_step:
            return self.per_step[name]
        if name not in self.batched:
            return [name] * self.steps
        parts = [f"{name}.{t}" for t in range(self.steps)]
        self.add("Split", f"{name}.split", [f"{name}.all"], parts, axis=0, num_outputs=self.steps)
        self.per_step[name] = parts
        return parts

    def _unroll(self, group: Group) -> None:
        """Copies of the nodes of one recurrence for every step, step by step."""
        states = self.plan.states
        written = {name: [f"{name}.{t}" for t in range(self.steps)] for name in group.writes()}
        read = dict.fromkeys(name for name in group.reads() if name not in states and name not in written)
        streams = {name: self._slices(name) for name in read} | written
        for t in range(self.steps):
            values = {name: parts[t] for name, parts in streams.items()}
            # A state read by a node that does not write it (the time index) has the value before this step.
            before = {name: self.history[name][t] for name in group.reads() if name in states}
            self.nodes += [renamed(node, f"{node.name}.{t}", values | before) for node in group.nodes]
            for name in group.writes():
                if name in self.plan.becomes:
                    self.history[self.plan.becomes[name]].append(streams[name][t])
        self.per_step |= written

    def _window_output(self, entry: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
        if entry.name.endswith(NEW):
            last = self.history[entry.name.removesuffix(NEW)][-1]
            self.add("Identity", f"{entry.name}.last", [last], [entry.name])
            return entry
        shape = dims(entry)[1:]
        target = self.constant(f"{entry.name}.window_shape", [self.steps, -1, *shape])
        self.add("Reshape", f"{entry.name}.split_time", [self.whole(entry.name), target], [entry.name])
        return helper.make_tensor_value_info(entry.name, entry.type.tensor_type.elem_type, [self.steps, BATCH, *shape])

    def _window_input(self, entry: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
        if entry.name in self.plan.states or dims(entry)[:1] != [BATCH]:
            return entry
        return helper.make_tensor_value_info(
            entry.name, entry.type.tensor_type.elem_type, [self.steps, BATCH, *dims(entry)[1:]]
        )
