"""A window of any number of steps: what runs one step after the other is the body of a Scan.

T time steps, free; N batch. Beside the batch `name.all`, a value may be held as its steps, `name.steps` [T, N, ...] (or
[T, ...], if it has no batch axis). In a body, `name.t` is its value at the step. Groups that run step by step share a
Scan where nothing between them runs on all steps at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgesnn.export.builder import BATCH
from edgesnn.export.shapes import single_stream
from edgesnn.export.window_graph import WindowGraph, dims, renamed
from edgesnn.export.window_plan import Group, Kind, Plan
from edgesnn.runtime.graph import NEW, STEPS

#: The axis of time steps.
TIME = "T"


def scanned(step: onnx.ModelProto, plan: Plan, *, held: bool) -> onnx.GraphProto:
    """The graph of any number of time steps; with `held`, of one x for all of them, and of the input `steps`."""
    return _Scanner(step, plan).run(held)


class _Scanner(WindowGraph):
    def __init__(self, step: onnx.ModelProto, plan: Plan) -> None:
        super().__init__(step.graph, plan)
        self.types = single_stream(step)
        #: Outputs that are no states.
        self.results = {entry.name for entry in step.graph.output if not entry.name.endswith(NEW)}
        #: Values that are known as their steps, and under which name.
        self.stacked: dict[str, str] = {}

    def run(self, held: bool) -> onnx.GraphProto:
        if held:
            self.still.add("x")
            self.add("Identity", "time.steps", [STEPS], ["time"])
        else:
            self.stacked["x"] = "x"
            self.add("Shape", "time.steps", ["x"], ["time"], start=0, end=1)
        for together, one_by_one in _stages(self.plan):
            for group in together:
                self.run_together(group.nodes[0], group.kind)
            if one_by_one:
                self._scan(one_by_one)
        outputs = [self._window_output(entry) for entry in self.source.output]
        inputs = [entry if held or entry.name != "x" else self._over_time(entry) for entry in self.source.input]
        if held:
            inputs.append(helper.make_tensor_value_info(STEPS, TensorProto.INT64, [1]))
        once = ", of one x for all steps: what reads it alone runs once" if held else ""
        doc = f"Any number of time steps at once{once}: synapses batched over T*N, membranes in Scan."
        return helper.make_graph(self.nodes, "window", inputs, outputs, self.constants, doc_string=doc)

    def whole(self, name: str) -> str:
        if name in self.batched:
            return f"{name}.all"
        if name in self.still:
            self._repeat(name)
        if name not in self.stacked:
            return name
        self.merge_time(name, self.stacked[name], list(self.types[name][0][1:]))
        return f"{name}.all"

    def _repeat(self, name: str) -> None:
        """A value [N, ...] that is the same at every step as its steps [T, N, ...]."""
        ones = self.constant(f"ones.{len(self.types[name][0])}", [1] * len(self.types[name][0]))
        self.add("Concat", f"{name}.repeats", ["time", ones], [f"{name}.repeated_shape"], axis=0)
        self.stacked[name] = self._steps_name(name)
        self.add("Expand", f"{name}.repeat", [name, f"{name}.repeated_shape"], [self.stacked[name]])

    def _steps(self, name: str) -> str:
        """The name of a value as its steps, made where it is not there yet."""
        if name in self.still:
            self._repeat(name)
        if name not in self.stacked:
            rest = "_".join(map(str, self.types[name][0][1:]))
            target = f"steps_of.{rest}"
            if all(target not in node.output for node in self.nodes):
                sizes = self.constant(f"sizes.{rest}", [-1, *self.types[name][0][1:]])
                self.add("Concat", f"{target}.join", ["time", sizes], [target], axis=0)
            self.stacked[name] = self._steps_name(name)
            self.add("Reshape", f"{name}.split_time", [f"{name}.all", target], [self.stacked[name]])
        return self.stacked[name]

    def _steps_name(self, name: str) -> str:
        return name if name in self.results else f"{name}.steps"

    def _scan(self, groups: list[Group]) -> None:
        """These groups as the body of one Scan, with the states that they write."""
        nodes = [node for group in groups for node in group.nodes]
        written = list(dict.fromkeys(name for group in groups for name in group.writes()))
        states = {self.plan.becomes[name]: name for name in written if name in self.plan.becomes}
        inside = set(written) | states.keys()
        read = dict.fromkeys(name for group in groups for name in group.reads() if name not in inside)
        streams = {name: self._steps(name) for name in read if name in self.batched or name in self.stacked}
        shown = [name for name in inside if name in self._read_outside(groups)]
        shown.sort(key=[*states, *written].index)

        local = {name: f"{name}.t" for name in (*inside, *streams)}
        body = [renamed(node, node.name, local) for node in nodes]
        body += [helper.make_node("Identity", [f"{n}.t"], [f"{n}.out"], name=f"{n}.out") for n in shown]
        body_inputs = [self._entry(name, f"{name}.t") for name in (*states, *streams)]
        body_outputs = [
            *(self._entry(state, f"{value}.t") for state, value in states.items()),
            *(self._entry(name, f"{name}.out") for name in shown),
        ]
        if not streams:  # a Scan takes its number of steps from an input
            body_inputs.append(helper.make_tensor_value_info(f"{nodes[0].name}.none", TensorProto.INT64, []))
            streams = {"": self._clock()}
        for name in shown:
            self.stacked[name] = self._steps_name(name)
        outputs = [*(state + NEW for state in states), *(self.stacked[name] for name in shown)]
        doc = f"One step of {', '.join(node.name for node in nodes)}."
        graph = helper.make_graph(body, f"{nodes[0].name}.step", body_inputs, body_outputs, doc_string=doc)
        self.add("Scan", f"{nodes[-1].name}.scan", [*states, *streams.values()], outputs,
                 num_scan_inputs=len(streams), body=graph)  # fmt: skip

    def _read_outside(self, groups: list[Group]) -> set[str]:
        others = (group for group in self.plan.groups if group not in groups)
        return self.results.union(*(group.reads() for group in others))

    def _clock(self) -> str:
        """int64 [T]."""
        if all("clock" not in node.output for node in self.nodes):
            self.add("ConstantOfShape", "time.clock", ["time"], ["clock"], value=_ZERO)
        return "clock"

    def _entry(self, name: str, local: str) -> onnx.ValueInfoProto:
        """Name, type and shape of a value in a body."""
        shape, dtype = self.types[name]
        alone = name in self.plan.scalars or (name in self.inputs and dims(self.inputs[name])[:1] != [BATCH])
        return helper.make_tensor_value_info(
            local, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape if alone else [BATCH, *shape[1:]]
        )

    def _window_output(self, entry: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
        if entry.name.endswith(NEW):
            return entry
        self._steps(entry.name)
        return self._over_time(entry)

    def _over_time(self, entry: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(entry.name, entry.type.tensor_type.elem_type, [TIME, *dims(entry)])


_ZERO = helper.make_tensor("zero", TensorProto.INT64, [1], [0])


def _stages(plan: Plan) -> Iterable[tuple[list[Group], list[Group]]]:
    """The groups in as few stages as there can be: of each, those that run once, and then those that share a Scan."""
    stage_of: dict[str, tuple[int, bool]] = {}  # value, or state before the step -> its stage, and if it is of a Scan
    stages: dict[int, tuple[list[Group], list[Group]]] = defaultdict(lambda: ([], []))
    for group in plan.groups:
        one_by_one = group.kind is Kind.STEPS
        needed = [stage_of[name] for name in group.reads() if name in stage_of]
        stage = max((at + (scan and not one_by_one) for at, scan in needed), default=0)
        stages[stage][one_by_one].append(group)
        for name in group.writes():
            stage_of[name] = stage, one_by_one
            if name in plan.becomes:
                stage_of[plan.becomes[name]] = stage, one_by_one
    return [stages[at] for at in sorted(stages)]
