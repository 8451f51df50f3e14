"""Variations of inertial recordings for training: the same movement by somebody faster, turned, or more vigorous.

A few people are not enough to learn from what people have in common; small changes of tempo and of how the sensor sits
stand in for the people that were not recorded.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.floating]
SENSOR_AXES = 6


@dataclass(frozen=True)
class Variation:
    """Standard deviations of what is drawn for each training window of a 6-axis sensor (ax, ay, az, wx, wy, wz).

    speed: logarithm of the tempo. tilt_degrees: rotation about each axis. vigour: logarithm of a factor on the rates of
    turn.
    """

    speed: float
    tilt_degrees: float
    vigour: float


@dataclass(frozen=True)
class Draw:
    """One drawn variation: tempo and vigour are factors, turn [3] is a rotation vector in radians."""

    tempo: float
    turn: NDArray[np.float64]
    vigour: float


def draw(variation: Variation, values: NDArray[np.float64]) -> Draw:
    """The change that five independent standard normal values [5] stand for."""
    return Draw(
        tempo=math.exp(variation.speed * values[0]),
        turn=math.radians(variation.tilt_degrees) * values[1:4],
        vigour=math.exp(variation.vigour * values[4]),
    )


def rotation(turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rodrigues: the matrix that rotates by |turn| radians about turn [3]."""
    x, y, z = turn
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = max(float(np.linalg.norm(turn)), 1e-12)
    result: NDArray[np.float64] = np.eye(3) + np.sin(angle) / angle * k + (1 - np.cos(angle)) / angle**2 * (k @ k)
    return result


def played(rows: Rows, start: int, length: int, tempo: float) -> Rows:
    """`length` rows from row `start` on, `tempo` source rows apart, linearly interpolated."""
    position = start + tempo * np.arange(length)
    low = position.astype(int)
    fraction = (position - low)[:, None]
    high = np.minimum(low + 1, len(rows) - 1)
    result: Rows = rows[low] * (1 - fraction) + rows[high] * fraction
    return result


def varied(rows: Rows, start: int, length: int, change: Draw) -> Rows:
    """A window [length, 6] with the drawn change. Tempo scales the rates of turn with it; accelerations are left alone,
    since most of them is gravity.
    """
    window = played(rows, start, length, change.tempo)
    turned = rotation(change.turn).T
    rates = window[:, 3:] @ turned * (change.tempo * change.vigour)
    return np.concatenate([window[:, :3] @ turned, rates], axis=1)
