"""Surrogate derivatives of the spike s = [m >= theta]: four shapes with the same height and area.

d is the distance m - theta, gamma > 0 the width. Each is even, has its maximum 1/gamma at d = 0 and the integral 1.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edgesnn.errors import ConfigError

Width = float | Tensor


def rectangle(distance: Tensor, gamma: Width) -> Tensor:
    """1/gamma where |d| < gamma/2, else 0 (SLTT eq. 5; TT-LBP eq. 6 with a = gamma)."""
    return (distance.abs() < gamma / 2).to(distance.dtype) / gamma


def triangle(distance: Tensor, gamma: Width) -> Tensor:
    """max(0, gamma - |d|) / gamma^2 (SLTT eq. 6)."""
    return torch.clamp(gamma - distance.abs(), min=0) / gamma**2


def sigmoid(distance: Tensor, gamma: Width) -> Tensor:
    """a*sigma(a*d)*(1 - sigma(a*d)), a = 4/gamma: the derivative of a sigmoid."""
    probability = torch.sigmoid(4 / gamma * distance)
    return 4 / gamma * probability * (1 - probability)


def arctan(distance: Tensor, gamma: Width) -> Tensor:
    """1 / (gamma*(1 + (pi*d/gamma)^2)): the derivative of atan(pi*d/gamma)/pi (Fang et al., ICCV 2021)."""
    return 1 / (gamma * (1 + (math.pi / gamma * distance) ** 2))


Surrogate = Callable[[Tensor, Width], Tensor]
SURROGATES: dict[str, Surrogate] = {
    "rectangle": rectangle,
    "triangle": triangle,
    "sigmoid": sigmoid,
    "arctan": arctan,
}


def check_surrogate(neuron: str, surrogate: str, width: float | None) -> None:
    if surrogate not in list(SURROGATES):  # a list is none either, and has no hash
        raise ConfigError(f"{neuron} surrogate: expected one of {sorted(SURROGATES)}, got {surrogate!r}")
    if width is not None and not 0.0 < width < math.inf:
        raise ConfigError(f"{neuron}: expected a surrogate width > 0 or None for theta, got {width}")


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, distance: Tensor, surrogate: Surrogate, gamma: Width) -> Tensor:
        ctx.save_for_backward(distance)
        ctx.surrogate, ctx.gamma = surrogate, gamma
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (distance,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate(distance, ctx.gamma), None, None


def fire(distance: Tensor, surrogate: str, gamma: Width) -> Tensor:
    """s = [d >= 0]; its gradient with respect to d is the surrogate's."""
    spikes: Tensor = _Fire.apply(distance, SURROGATES[surrogate], gamma)
    return spikes
