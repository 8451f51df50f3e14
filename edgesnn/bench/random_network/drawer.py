"""What every part of a random network draws: widths, weights, numbers of neurons, and factors of currents.

N batch, C channels, O outputs, H x W pixels, T time steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesnn.bench.random_network.learning import Part
from edgesnn.export.bounds import CURRENT_LIMIT
from edgesnn.export.builder import GraphBuilder
from edgesnn.export.fixed_point import EXACT, MULTIPLIER_LIMIT
from edgesnn.export.lower import HiddenLayer
from edgesnn.export.lower.values import Weights

Array = NDArray[Any]
Shape = tuple[int, ...]

#: Chosen more often than a uniform draw would: around a byte and a word of packed weights.
_WIDTHS = (1, 2, 3, 7, 8, 9, 16, 17)
#: A rescaled current stays below this, so that a few of them can be added.
CURRENT = CURRENT_LIMIT // 8
_MOST_BIAS = 2**22


@dataclass(frozen=True)
class Signal:
    """A value that passes between layers: one sample's shape, the range of its integers, and how many values each of
    them is the sum of.
    """

    name: str
    shape: Shape
    low: int
    high: int
    terms: int = 1

    @property
    def is_image(self) -> bool:
        return len(self.shape) == 3

    @property
    def largest(self) -> int:
        return max(-self.low, self.high, 1)

    @property
    def usual(self) -> float:
        """A magnitude that these integers have, as sums of values around a quarter of their range."""
        return self.largest / math.sqrt(self.terms) / 4


class Drawer:
    """A source of draws, and the graph that they go to."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.values = np.random.default_rng(random.getrandbits(32))
        self.builder = GraphBuilder()
        self.steps = random.choice((1, 1, 2, 3, 4))
        #: Whether there are numbers of neurons and currents that differ by time step.
        self.by_step = self.steps > 1 and random.random() < 0.5
        #: What the layer that is drawn takes part in, and what learns up to it.
        self.part = Part()
        #: log2 of what its currents usually are, where layers learn: so that neurons answer; none where any will do.
        self.level: int | None = None
        self.synapses: list[Weights] = []
        self.hidden: list[HiddenLayer] = []

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def width(self, most: int) -> int:
        return self.random.choice((*(width for width in _WIDTHS if width <= most), self.random.randint(1, most)))

    def integers(self, low: int, high: int, shape: Shape) -> Array:
        return self.values.integers(low, high, shape, endpoint=True)

    def numbers(
        self, name: str, shape: Shape, low: int, high: int, fixed: Sequence[int] = (), *, learns: bool = False
    ) -> str:
        """Constants int32 of this shape, or parameters that learn: or a table [T, ...] and the row of this time step.

        Now and then it is one of the `fixed` values throughout.
        """
        full = (self.steps, *shape) if self.by_step else shape
        value = self.integers(low, high, full)
        if fixed and self.chance(0.5):
            value = np.full(full, self.random.choice(fixed))
        return self.constant(name, value, learns=learns)

    def constant(self, name: str, value: Array, *, learns: bool = False) -> str:
        """A constant or parameter, or the row of this time step where it is a table."""
        (self.builder.param if learns else self.builder.constant)(name, value.astype(np.int32))
        if not self.by_step:
            return name
        self.builder.standard("Gather", f"{name}.at", [name, "t"], [f"{name}.now"], axis=0)
        return f"{name}.now"

    def rescale(
        self, name: str, a: Signal, factor: float, bias: str | None = None, to: dict[str, int] | None = None
    ) -> Signal:
        """A current of about `factor` times the accumulator; with `to`, requantized to those bits and that type."""
        b = self.builder
        shift = self.random.randint(8 if self.level is None else min(max(8, 2 - math.floor(math.log2(factor))), 30), 30)
        largest = min(MULTIPLIER_LIMIT - 1, min(EXACT // 2, CURRENT << shift) // a.largest)
        shape = column(a.shape)
        full = (self.steps, *shape) if self.by_step and bias is None else shape
        drawn = self.values.uniform(0.5, 1.5, full) * self.values.choice([-1, 1], full) * factor * 2.0**shift
        m = np.rint(np.clip(drawn, -largest, largest))
        if bias is None:
            most = self.random.choice((0, 500, _MOST_BIAS if self.level is None else 2**self.level))
            operands = [self.constant(f"{name}.M", m), self.numbers(f"{name}.b", shape, -most, most)]
        else:
            operands = [b.constant(f"{name}.M", m.astype(np.int32)), bias]
        if to is None:
            b.call("Rescale", f"{name}.rescale", [a.name, *operands], [f"{name}.I"], shift=shift)
            return Signal(f"{name}.I", a.shape, -CURRENT - _MOST_BIAS, CURRENT + _MOST_BIAS)
        b.call("Requantize", f"{name}.requantize", [a.name, *operands], [f"{name}.q"], shift=shift, **to)
        return Signal(f"{name}.q", a.shape, -128, 255)

    def spread(self, a: Signal) -> float:
        """A factor that makes currents of the layer's level, or of any size, between nothing and saturation."""
        if self.level is not None:
            return float(2.0**self.level / a.usual)
        return float(2.0 ** self.random.uniform(6, 24) / math.sqrt(a.largest) / 60)


def column(shape: Shape) -> Shape:
    """[O] or [O, 1, 1]: what is broadcast over the pixels."""
    return (shape[0],) + (1,) * (len(shape) - 1)


def windows(
    size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int]
) -> Shape:
    """How many windows fit along each axis; pads top, left, bottom, right."""
    top, left, bottom, right = pads
    return tuple(
        (length + before + after - (width - 1) * dilation - 1) // step + 1
        for length, width, step, before, after, dilation in zip(
            size, kernel, strides, (top, left), (bottom, right), dilations, strict=True
        )
    )
