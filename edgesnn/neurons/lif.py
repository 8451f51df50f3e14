"""Integrate-and-fire with a surrogate gradient, with a leak (Meng et al., ICCV 2023, eq. 1-6) and without."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from edgesnn.errors import ConfigError
from edgesnn.neurons.base import Neuron, above, check_lam_theta, softplus_inverse
from edgesnn.neurons.surrogates import check_surrogate, fire


def lif_step(
    current: Tensor,
    v: Tensor,
    lam: float,
    theta: float | Tensor,
    surrogate: str = "triangle",
    width: float | None = None,
    alpha: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Eq. 1: m = lam*v + I, s = [m >= alpha*theta], v' = m - theta*s (the reset is part of the gradient, eq. 8).

    current, v: [N, C, ...]; theta: a number, or a tensor that is trained. The surrogate's width is theta, as in the
    paper, unless given. alpha: 1, or that of DSR eq. 20, which makes the firing rate round instead of floor at 1/2.
    """
    m = lam * v + current
    gamma = width if width is not None else theta.detach() if isinstance(theta, Tensor) else theta
    s = fire(m - alpha * theta, surrogate, gamma)
    return s, m - theta * s


def lif_step_(current: Tensor, v: Tensor, spikes: Tensor, lam: float, theta: float, alpha: float = 1.0) -> None:
    """`lif_step` without gradient, in place: v becomes v', spikes is written."""
    v.mul_(lam).add_(current)
    torch.ge(v, alpha * theta, out=spikes)
    v.sub_(spikes, alpha=theta)


class LIF(Neuron):
    """LIF neuron; its spikes are 0 or 1.

    width: of the surrogate (None: theta). alpha: fires at alpha*theta (DSR eq. 20). train_theta: the threshold is a
    parameter, a softplus so that it stays above 0 (DSR sec. 4).
    """

    kind: ClassVar[str] = "lif"

    def __init__(
        self,
        lam: float = 0.5,
        theta: float = 1.0,
        surrogate: str = "triangle",
        width: float | None = None,
        alpha: float = 1.0,
        train_theta: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_lam_theta(name, lam, theta)
        check_surrogate(name, surrogate, width)
        if not 0.0 < alpha <= 1.0:
            raise ConfigError(f"{name}: expected alpha in (0, 1], got {alpha}")
        self.lam, self.theta, self.surrogate, self.width, self.alpha = lam, theta, surrogate, width, alpha
        self.theta_raw = nn.Parameter(torch.tensor([softplus_inverse(theta)])) if train_theta else None
        self.initial = {
            "lam": lam,
            "theta": theta,
            "surrogate": surrogate,
            "width": width,
            "alpha": alpha,
            "train_theta": train_theta,
        }

    def lam_values(self) -> Tensor:
        return torch.tensor([self.lam], dtype=torch.float64)  # exactly the number that `forward` takes

    def theta_values(self) -> Tensor:
        if self.theta_raw is None:
            return torch.tensor([self.theta], dtype=torch.float64)
        return nn.functional.softplus(self.theta_raw)

    def emission_variance(self) -> float:
        """p*(1 - p), p = P(x >= alpha*theta) (OTTT supplement C.1)."""
        p = above(self.alpha * self.theta)
        return p * (1 - p)

    def forward(self, current: Tensor, v: Tensor | None, t: int) -> tuple[Tensor, Tensor | None]:  # noqa: ARG002
        v = torch.zeros_like(current) if v is None else v
        theta = self.theta if self.theta_raw is None else nn.functional.softplus(self.theta_raw)
        return lif_step(current, v, self.lam, theta, self.surrogate, self.width, self.alpha)


class IF(LIF):
    """Integrate-and-fire: LIF with lam = 1, nothing leaks (DSR eq. 3)."""

    kind: ClassVar[str] = "if"

    def __init__(
        self,
        theta: float = 1.0,
        surrogate: str = "triangle",
        width: float | None = None,
        alpha: float = 1.0,
        train_theta: bool = False,
    ) -> None:
        super().__init__(1.0, theta, surrogate, width, alpha, train_theta)
        del self.initial["lam"]
