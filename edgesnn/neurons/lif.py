"""Integrate-and-fire with a surrogate gradient, with a leak (Meng et al., ICCV 2023, eq. 1-6) and without."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from edgesnn.errors import ConfigError
from edgesnn.neurons.base import Neuron, above, check_lam_theta, softplus_inverse
from edgesnn.neurons.surrogates import check_surrogate, fire

#: What a spike does to the membrane: theta is subtracted from it, or it starts again at 0.
RESETS = ("subtract", "zero")


def lif_step(
    current: Tensor,
    v: Tensor,
    lam: float,
    theta: float | Tensor,
    surrogate: str = "triangle",
    width: float | None = None,
    alpha: float = 1.0,
    reset: str = "subtract",
    strict: bool = False,
) -> tuple[Tensor, Tensor]:
    """Eq. 1: m = lam*v + I, s = [m >= alpha*theta], v' = m - theta*s (the reset is part of the gradient, eq. 8).

    current, v: [N, C, ...]; theta: a number, or a tensor that is trained. The surrogate's width is theta, as in the
    paper, unless given. alpha: 1, or that of DSR eq. 20, which makes the firing rate round instead of floor at 1/2.
    reset "zero": v' = m*(1 - s). strict: s = [m > alpha*theta].
    """
    m = lam * v + current
    gamma = width if width is not None else theta.detach() if isinstance(theta, Tensor) else theta
    level = alpha * theta
    if strict:  # above a number is from the next one on
        level = torch.nextafter(torch.as_tensor(level, dtype=m.dtype, device=m.device), m.new_tensor(math.inf))
    s = fire(m - level, surrogate, gamma)
    return s, m * (1 - s) if reset == "zero" else m - theta * s


def lif_step_(
    current: Tensor,
    v: Tensor,
    spikes: Tensor,
    lam: float,
    theta: float,
    alpha: float = 1.0,
    reset: str = "subtract",
    strict: bool = False,
) -> None:
    """`lif_step` without gradient, in place: v becomes v', spikes is written."""
    v.mul_(lam).add_(current)
    (torch.gt if strict else torch.ge)(v, alpha * theta, out=spikes)
    if reset == "zero":
        v.masked_fill_(spikes > 0, 0.0)
    else:
        v.sub_(spikes, alpha=theta)


class LIF(Neuron):
    """LIF neuron; its spikes are 0 or 1.

    width: of the surrogate (None: theta). alpha: fires at alpha*theta (DSR eq. 20). train_theta: the threshold is a
    parameter, a softplus so that it stays above 0 (DSR sec. 4). reset, strict: see `lif_step`; what other frameworks
    have (docs/interop.md).
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
        reset: str = "subtract",
        strict: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_lam_theta(name, lam, theta)
        check_surrogate(name, surrogate, width)
        if not 0.0 < alpha <= 1.0:
            raise ConfigError(f"{name}: expected alpha in (0, 1], got {alpha}")
        if reset not in RESETS:
            raise ConfigError(f"{name}: expected reset to be one of {list(RESETS)}, got {reset!r}")
        self.lam, self.theta, self.surrogate, self.width, self.alpha = lam, theta, surrogate, width, alpha
        self.reset, self.strict = reset, strict
        self.theta_raw = nn.Parameter(torch.tensor([softplus_inverse(theta)])) if train_theta else None
        self.initial = {
            "lam": lam,
            "theta": theta,
            "surrogate": surrogate,
            "width": width,
            "alpha": alpha,
            "train_theta": train_theta,
            "reset": reset,
            "strict": strict,
        }

    def lam_values(self) -> Tensor:
        return torch.tensor([self.lam], dtype=torch.float64)  # exactly the number that `forward` takes

    @property
    def threshold(self) -> float | Tensor:
        """theta: a number, or a tensor [1] where it is trained."""
        return self.theta if self.theta_raw is None else nn.functional.softplus(self.theta_raw)

    def theta_values(self) -> Tensor:
        theta = self.threshold
        return theta if isinstance(theta, Tensor) else torch.tensor([theta], dtype=torch.float64)

    def emission_variance(self) -> float:
        """p*(1 - p), p = P(x >= alpha*theta) (OTTT supplement C.1)."""
        p = above(self.alpha * self.theta)
        return p * (1 - p)

    def forward(self, current: Tensor, v: Tensor | None, t: int) -> tuple[Tensor, Tensor | None]:  # noqa: ARG002
        v = torch.zeros_like(current) if v is None else v
        return lif_step(
            current, v, self.lam, self.threshold, self.surrogate, self.width, self.alpha, self.reset, self.strict
        )


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
        reset: str = "subtract",
        strict: bool = False,
    ) -> None:
        super().__init__(1.0, theta, surrogate, width, alpha, train_theta, reset, strict)
        del self.initial["lam"]
