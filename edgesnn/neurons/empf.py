"""Efficient multi-precision firing (EM-PF, arXiv 2410.07547): real-valued spikes, made for binary synapses."""

import copy
import math
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from edgesnn.neurons.base import (
    Neuron,
    above,
    at_step,
    by_channel,
    check_lam_theta,
    check_steps,
    filled,
    leak_parameter,
    softplus_inverse,
)


def empf_step(current: Tensor, v: Tensor, lam: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. 3: m = lam*v + I, s = relu(m - theta), v' = m - s: what is emitted is what is subtracted.

    current, v: [N, C, ...]; lam, theta: scalars, or [C, 1, ...]. The gradient of a spike is 1 or 0 whatever the
    membrane's value, which is what makes the online gradient close to the full one (Theorem 4.2).
    """
    return empf_fire(lam * v + current, theta)


def empf_fire(m: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """s = relu(m - theta), v' = m - s, from the charged membrane m."""
    s = torch.relu(m - theta)
    return s, m - s


def empf_step_(current: Tensor, v: Tensor, spikes: Tensor, lam: Tensor, theta: Tensor) -> None:
    """`empf_step` without gradient, in place: v becomes v', spikes is written."""
    v.mul_(lam).add_(current)
    torch.sub(v, theta, out=spikes).relu_()
    v.sub_(spikes)


def parallel_empf_step(current: Tensor, theta: Tensor) -> Tensor:
    """Version III: no residual membrane, m = I, s = relu(m - theta); time steps are independent of each other."""
    return torch.relu(current - theta)


def rectified_variance(theta: float) -> float:
    """Var(relu(x - theta)) for x from N(0, 1); theta = 0 gives (1 - 1/pi)/2."""
    density, tail = math.exp(-(theta**2) / 2) / math.sqrt(2 * math.pi), above(theta)
    mean = density - theta * tail
    return (1 + theta**2) * tail - theta * density - mean**2


class EMPF(Neuron):
    """EM-PF neuron, version I (eq. 5), or version III with `parallel=True`.

    lam and theta are learned: one shared value (endless streams), or `steps` values, one for each time step; of the
    whole layer, or with `per_channel=True` of each channel. lam is a sigmoid and theta a softplus of the trained
    parameter, so they stay in [0, 1] and above 0; lam given as exactly 0 or 1 is not trained and stays.
    """

    kind: ClassVar[str] = "empf"

    def __init__(
        self,
        lam: float = 0.8,
        theta: float = 1.0,
        steps: int | None = None,
        parallel: bool = False,
        per_channel: bool = False,
    ) -> None:
        super().__init__()
        check_lam_theta("EMPF", lam, theta)
        check_steps("EMPF", steps)
        self.initial = {"lam": lam, "theta": theta, "steps": steps, "parallel": parallel, "per_channel": per_channel}
        self.parallel, self.per_channel = parallel, per_channel
        self.theta_raw = nn.Parameter(filled(steps, softplus_inverse(theta), per_channel))
        self.lam_raw = None if parallel else leak_parameter(steps, lam, per_channel)

    def sized(self, channels: int) -> Self:
        neuron = copy.deepcopy(self)
        if self.per_channel:
            neuron.theta_raw = by_channel(self.theta_raw, channels)
            neuron.lam_raw = None if self.lam_raw is None else by_channel(self.lam_raw, channels)
        return neuron

    def lam_values(self) -> Tensor:
        return torch.zeros_like(self.theta_raw) if self.lam_raw is None else torch.sigmoid(self.lam_raw)

    def theta_values(self) -> Tensor:
        return nn.functional.softplus(self.theta_raw)

    def emission_variance(self) -> float:
        return rectified_variance(self.initial["theta"])

    def forward(self, current: Tensor, v: Tensor | None, t: int) -> tuple[Tensor, Tensor | None]:
        theta = at_step(self.theta_values(), t, current.dim())
        if self.parallel:
            return parallel_empf_step(current, theta), None
        lam = at_step(self.lam_values(), t, current.dim())
        return empf_step(current, torch.zeros_like(current) if v is None else v, lam, theta)
