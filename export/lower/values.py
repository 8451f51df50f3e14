"""What passes between the layers of a network that is being lowered, and what learning wants to know of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesnn.export.builder import GraphBuilder

Array = NDArray[Any]


@dataclass(frozen=True)
class Signal:
    """The integer tensor between two layers: value name, real value of one unit, range, shape without batch."""

    name: str
    unit: float
    low: int
    high: int
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of a synapse as learning sees them."""

    name: str
    scale: Array  # value of one unit of an int8 weight, or of a sign, per output channel
    latent: Array | None  # of 1-bit weights that learn: int8 [O, ...], the real weights times 127


@dataclass(frozen=True, eq=False)
class Accumulator:
    """An int32 value, named after the layer that made it, that waits to be rescaled."""

    layer: str
    name: str
    unit: Array  # value of one unit, per channel
    bound: int  # on its integers
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Current:
    """The sum of accumulators of one shape, plus a real offset per channel."""

    terms: tuple[Accumulator, ...]
    offset: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.terms[0].shape

    def scaled(self, gain: Array | float, shift: Array | float = 0.0, centre: Array | float = 0.0) -> Current:
        """(I - centre)*gain + shift, per channel."""
        terms = tuple(replace(term, unit=term.unit * gain) for term in self.terms)
        return Current(terms, (self.offset - centre) * gain + shift)

    def reach(self) -> Array:
        """Bound on the real value, per channel."""
        reach: Array = sum((np.abs(term.unit) * term.bound for term in self.terms), np.abs(self.offset))
        return reach


Value = Signal | Current


@dataclass(frozen=True)
class ReadoutLayer:
    """The readout as learning sees it: input spikes, classes, leak (Q15), weight unit times spike unit."""

    spikes: Signal
    classes: int
    leak: int
    unit: float


@dataclass(frozen=True, eq=False)
class HiddenLayer:
    """A layer of neurons, and the synapses since the neurons before it, as learning sees them.

    width: half of the surrogate's triangle of LIF neurons, in units of a membrane; None for others. learns: whether its
    threshold may.
    """

    name: str  # of the neurons
    membrane: float  # value of one unit of the threshold
    width: int | None
    synapses: tuple[Weights, ...]
    learns: bool = True


@dataclass(frozen=True)
class Lowered:
    """The nodes of one time step, its input, readout, number of parameter sets (1: shared), and hidden layers."""

    builder: GraphBuilder
    input: Signal
    readout: ReadoutLayer
    steps: int
    hidden: tuple[HiddenLayer, ...]
