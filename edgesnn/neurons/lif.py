"""Leaky integrate-and-fire with a surrogate gradient (Meng et al., ICCV 2023, eq. 1-6)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edgesnn.errors import ConfigError
from edgesnn.neurons.base import Neuron, check_lam_theta


def rectangle(distance: Tensor, gamma: float) -> Tensor:
    """Eq. 5: 1/gamma where |m - theta| < gamma/2, else 0."""
    return (distance.abs() < gamma / 2).to(distance.dtype) / gamma


def triangle(distance: Tensor, gamma: float) -> Tensor:
    """Eq. 6: max(0, gamma - |m - theta|) / gamma^2."""
    return torch.clamp(gamma - distance.abs(), min=0) / gamma**2


SURROGATES: dict[str, Callable[[Tensor, float], Tensor]] = {"rectangle": rectangle, "triangle": triangle}


class _Fire(torch.autograd.Function):
    """s = [distance >= 0]; backward multiplies with the surrogate derivative."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor, surrogate: Callable[[Tensor, float], Tensor], gamma: float) -> Tensor:
        ctx.save_for_backward(distance)
        ctx.surrogate, ctx.gamma = surrogate, gamma
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (distance,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate(distance, ctx.gamma), None, None


def lif_step(
    current: Tensor, v: Tensor, lam: float, theta: float, surrogate: str = "triangle"
) -> tuple[Tensor, Tensor]:
    """Eq. 1: m = lam*v + I, s = [m >= theta], v' = m - theta*s (the reset is part of the gradient, eq. 8).

    current, v: [N, C, ...]. The surrogate's width gamma is theta, as in the paper.
    """
    m = lam * v + current
    s: Tensor = _Fire.apply(m - theta, SURROGATES[surrogate], theta)
    return s, m - theta * s


class LIF(Neuron):
    """LIF neuron with fixed leak and threshold; its spikes are 0 or 1."""

    def __init__(self, lam: float = 0.5, theta: float = 1.0, surrogate: str = "triangle") -> None:
        super().__init__()
        check_lam_theta("LIF", lam, theta)
        if surrogate not in SURROGATES:
            raise ConfigError(f"LIF surrogate: expected one of {sorted(SURROGATES)}, got {surrogate!r}")
        self.lam, self.theta, self.surrogate = lam, theta, surrogate

    def lam_values(self) -> Tensor:
        return torch.tensor([self.lam])

    def theta_values(self) -> Tensor:
        return torch.tensor([self.theta])

    def forward(self, current: Tensor, v: Tensor | None, t: int) -> tuple[Tensor, Tensor | None]:  # noqa: ARG002
        v = torch.zeros_like(current) if v is None else v
        return lif_step(current, v, self.lam, self.theta, self.surrogate)

    def config(self) -> dict[str, Any]:
        return {"kind": "lif", "lam": self.lam, "theta": self.theta, "surrogate": self.surrogate}
