"""Gradients as integers: what one unit is worth, how large they can get, and how they are scaled and added."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesnn.export.builder import GraphBuilder
from edgesnn.export.fixed_point import multiplier

Array = NDArray[Any]

#: Gradients and steps stay below this, so that twice a sum of them fits int32.
LIMIT = 2**30


@dataclass(frozen=True, eq=False)
class Gradient:
    """dL/d of the integers of a value of the step [1, C, ...], by its name in the learning graph; dL is an integer of
    it times the unit, [1] or by channel [C]. `bound` is on the integers.
    """

    name: str
    unit: Array
    bound: int
    shape: tuple[int, ...]

    @property
    def largest_unit(self) -> float:
        """Of all channels; 1 where no channel has an influence."""
        return float(np.abs(self.unit).max()) or 1.0

    def times(self, factor: Array | float) -> Gradient:
        """The same integers for a value that this one is `factor` times, [1] or by channel."""
        return replace(self, unit=self.unit * factor)


def scaled(builder: GraphBuilder, gradient: Gradient, factor: Array, name: str, at: str | None = None) -> Gradient:
    """The integers times a factor, [1] or by channel; the unit of the result is for the caller to name.

    A table of factors, [T, 1] or [T, C], is read at the time index `at`.

    Raises:
        ExportError: a factor that is not finite, or too large.
    """
    rank, channels = len(gradient.shape), gradient.shape[1]
    m, shift = multiplier(np.broadcast_to(factor, (*factor.shape[:-1], channels)), gradient.bound, name)
    m = m.reshape(*m.shape, *[1] * (rank - 2))
    zeros = np.zeros((channels, *[1] * (rank - 2)), np.int32)
    factors, offset = builder.constant(f"{name}.M", m), builder.constant(f"{name}.b", zeros)
    if at is not None:
        builder.standard("Gather", f"{name}.M.at", [factors, at], [f"{name}.M.now"], axis=0)
        factors = f"{name}.M.now"
    builder.call("Rescale", f"{name}.rescale", [gradient.name, factors, offset], [name], shift=shift)
    bound = math.ceil(gradient.bound * float(np.abs(factor).max())) + 1
    return Gradient(name, np.ones(1), bound, gradient.shape)


def at_step(builder: GraphBuilder, gradient: Gradient, factors: Array, at: str, name: str) -> Gradient:
    """The gradient of a value that this one is `factors` times, a table [T, 1] or [T, C], at the time index `at`."""
    worth = gradient.unit * factors
    unit = float(np.abs(worth).max()) or 1.0
    return replace(scaled(builder, gradient, worth / unit, name, at), unit=np.array([unit]))


def in_unit(builder: GraphBuilder, gradient: Gradient, unit: float, name: str) -> Gradient:
    """The gradient in integers of one unit for all channels."""
    return replace(scaled(builder, gradient, gradient.unit / unit, name), unit=np.array([unit]))


def uniform(builder: GraphBuilder, gradient: Gradient, name: str) -> Gradient:
    """The gradient with one unit for all channels: as it is, or scaled to the largest of them."""
    if (gradient.unit == gradient.unit[0]).all() and gradient.unit[0] > 0:
        return replace(gradient, unit=gradient.unit[:1])
    return in_unit(builder, gradient, gradient.largest_unit, name)


def reshaped(builder: GraphBuilder, gradient: Gradient, shape: tuple[int, ...], name: str) -> Gradient:
    """The gradient of a value that was read in another shape."""
    if gradient.shape == shape:
        return gradient
    flat = uniform(builder, gradient, f"{name}.even")
    sizes = builder.constant(f"{name}.shape", np.array(shape, np.int64))
    builder.standard("Reshape", f"{name}.reshape", [flat.name, sizes], [name])
    return replace(flat, name=name, shape=shape)


def total(builder: GraphBuilder, parts: Sequence[Gradient], growth: int, name: str) -> Gradient:
    """The sum of the gradients of all readers, which may grow so many times before it is scaled again."""
    if len(parts) == 1 and parts[0].bound * growth <= LIMIT:
        return parts[0]
    worth = sum(part.largest_unit * part.bound for part in parts)
    unit = worth / (LIMIT // growth - 2 * len(parts))
    terms = [in_unit(builder, part, unit, f"{name}.part{i}") for i, part in enumerate(parts, start=1)]
    for i, term in enumerate(terms[1:], start=2):
        builder.call("Add", f"{name}.add{i}", [terms[0].name, term.name], [f"{name}{i}"])
        terms[0] = replace(term, name=f"{name}{i}", bound=terms[0].bound + term.bound)
    return terms[0]
