"""What a random network learns beyond its readout: a drawn scope, and the learning graph of `edgesnn.export` for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import onnx

from edgesnn.errors import ExportError
from edgesnn.export.bounds import TRAINED_WEIGHT
from edgesnn.export.builder import GraphBuilder
from edgesnn.export.error_path import ErrorPath, error_path
from edgesnn.export.layer_learning import LARGEST_SHIFT, add_states, layers_graph, layers_spec
from edgesnn.export.learn import usable_rate
from edgesnn.export.lower import HiddenLayer, ReadoutLayer
from edgesnn.export.scopes import Scope
from edgesnn.export.trace import TraceScale

#: Learning rates of hidden layers: weights move by a unit now and then, or by many at each step. The first fits every
#: network that is drawn, with room to spare.
_RATES = (0.01, 0.1, 1.0, 10.0)


@dataclass(frozen=True)
class Depth:
    """A scope by name, and how many of the last layers learn thresholds, and weights."""

    name: str
    thresholds: int
    weights: int


@dataclass(frozen=True)
class Part:
    """What one layer of a network takes part in: its weights or thresholds learn, an error comes back through it from
    behind (`reached`), and goes on to the layers before (`passed`).
    """

    weights: bool = False
    reached: bool = False
    passed: bool = False


def draw_depth(random: Random, layers: int) -> Depth:
    """A scope of those that go back through layers."""
    last = random.randint(1, layers)
    return random.choice((Depth("readout+thresholds", layers, 0), Depth("all", layers, layers),
                          Depth(f"last:{last}", last, last)))  # fmt: skip


def part(depth: Depth | None, layer: int, layers: int) -> Part:
    """That of the layer of this number."""
    if depth is None:
        return Part()
    first = layers - depth.thresholds
    return Part(layer >= layers - depth.weights, layer >= first, layer > first)


class DeepLearning:
    """The learning of one network; made when its step is complete.

    Raises:
        ExportError: an error cannot go back through what was drawn.
    """

    def __init__(
        self, step: GraphBuilder, hidden: Sequence[HiddenLayer], depth: Depth, readout: ReadoutLayer, scale: TraceScale,
        random: Random,
    ) -> None:  # fmt: skip
        self._step, self._readout, self._scale = step, readout, scale
        weights = len(hidden) if depth.weights else 0
        self._path: ErrorPath = error_path(step, hidden, Scope(weights, len(hidden), readout=True))
        add_states(step, self._path)
        rate = usable_rate(readout, scale, None, LARGEST_SHIFT)
        self.spec = layers_spec(depth.name, readout, scale, rate, random.getrandbits(31))
        self._rate = self._fitting(random.choice(_RATES))

    def graph(self, metadata: dict[str, str]) -> onnx.ModelProto:
        """`learn.onnx`."""
        return self._graph(self._rate, metadata)

    def _graph(self, rate: float, metadata: dict[str, str]) -> onnx.ModelProto:
        return layers_graph(self._step, self._readout, self._path, self._scale, rate, self.spec, metadata)

    def _fitting(self, rate: float) -> float:
        """This learning rate, or the first of all where layers have steps that it is too large for."""
        try:
            self._graph(rate, {})
        except ExportError:
            return _RATES[0]
        return rate


def logit_unit(inputs: int, limit: int) -> float:
    """Value in nat of a weight times a spike, so that logits of a trace of `limit` are about 2^20 at most."""
    return 2.0 ** (20 - math.ceil(math.log2(inputs * TRAINED_WEIGHT * limit)))
