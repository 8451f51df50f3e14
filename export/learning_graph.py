"""The learning graph as it grows: what it reads of the step, what it updates, and the errors on their way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from onnx import numpy_helper

from edgesnn.export.builder import GraphBuilder
from edgesnn.export.c_graph import Tensor
from edgesnn.export.error_path import ErrorPath
from edgesnn.export.gradient import Gradient, reshaped, total
from edgesnn.runtime.graph import NEW

Array = NDArray[Any]

#: Every tensor that learns draws numbers of its own: seeds are this far apart.
_SEED_STEP = 0x9E3779B9


class LearningGraph:
    """Nodes from the readout down, which the handlers of the step's nodes add to `builder`.

    rate: of descent on real weights. numbers: those of the readout's learning.
    """

    def __init__(self, step: GraphBuilder, path: ErrorPath, rate: float, numbers: dict[str, int]) -> None:
        self.builder, self.path, self.rate, self.numbers = GraphBuilder(), path, rate, numbers
        self._factory = {init.name: init for init in step.initializers}
        self._parts: dict[str, list[Gradient]] = {}
        self._known: set[str] = set()
        self._seeds = 0

    def factory(self, value: Tensor) -> Array:
        """A constant of the step, or the factory value of a parameter: the whole table, if the value is a row of it."""
        return numpy_helper.to_array(self._factory[value.place])

    def error_of(self, value: Tensor) -> Gradient:
        """The sum of the errors that the readers of a value have passed on."""
        parts = [
            reshaped(self.builder, part, value.shape, f"{value.place}.back{i}")
            for i, part in enumerate(self._parts.pop(value.place), start=1)
        ]
        return total(self.builder, parts, self.path.growth[value.place], f"{value.place}.g")

    def pass_on(self, value: Tensor, gradient: Gradient) -> None:
        """To the writer of the value, if that is on the path."""
        if value.place in self.path.wanted:
            self._parts.setdefault(value.place, []).append(gradient)

    def number(self, value: Tensor) -> str:
        """That the step has read: a number of the layer, or by channel, of all steps or of that one."""
        factory = self.factory(value)
        if value.place in self.path.thresholds:
            table = self.updated(value.place, "int32", factory.shape)
        else:
            table = self.builder.constant(value.place, factory)
        if value.index is None:
            return table
        at = self.last_step(value.index, len(factory))
        self.builder.standard("Gather", f"{table}.at", [table, at], [f"{table}.last"], axis=0)
        return f"{table}.last"

    def last_step(self, index: Tensor, steps: int) -> str:
        """The time index at which the step has read its tables of so many rows."""
        t = index.place
        if f"{t}.last" not in self._known:
            self._known.add(f"{t}.last")
            self.builder.call("LastStep", f"{t}.back", [self.input(t, "int32", [1])], [f"{t}.last"], steps=steps)
        return f"{t}.last"

    def trained(self, weights: Tensor) -> str:
        """The weights of a layer as an input that is updated, or as a constant where they do not learn."""
        name = weights.place
        if name not in self._known:
            if name in self.path.weights:
                self.updated(name, weights.dtype, weights.shape)
            else:
                self.builder.constant(name, self.factory(weights))
            self._known.add(name)
        return name

    def read(self, value: Tensor) -> str:
        """What the step kept of a value, in the shape in which it was read."""
        made = self.path.made[value.place]
        name = self.input(kept(made), made.dtype, made.shape)
        if value.shape == made.shape:
            return name
        if f"{name}.flat" not in self._known:
            self._known.add(f"{name}.flat")
            self.builder.standard("Flatten", f"{name}.flatten", [name], [f"{name}.flat"], axis=1)
        return f"{name}.flat"

    def input(self, name: str, dtype: str, shape: Sequence[int]) -> str:
        """An input of the graph, named once."""
        if name not in self._known:
            self._known.add(name)
            self.builder.input(name, dtype, [*shape])
        return name

    def updated(self, name: str, dtype: str, shape: Sequence[int]) -> str:
        """An input whose new value some node writes."""
        self.builder.output(name + NEW, dtype, [*shape])
        return self.input(name, dtype, shape)

    def next_seed(self) -> int:
        """For the random numbers of one more tensor."""
        self._seeds += 1
        return (self.numbers["seed"] + self._seeds * _SEED_STEP) % 2**32


def kept(value: Tensor) -> str:
    """The state that keeps a value of the step."""
    return f"{value.place}.kept"
