"""Efficient multi-precision firing (EM-PF, arXiv 2410.07547): real-valued spikes, made for binary synapses."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from edgesnn.errors import ConfigError
from edgesnn.neurons.base import Neuron, at_step, check_lam_theta


def empf_step(current: Tensor, v: Tensor, lam: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. 3: m = lam*v + I, s = relu(m - theta), v' = m - s: what is emitted is what is subtracted.

    current, v: [N, C, ...]; lam, theta: scalars. The gradient of a spike is 1 or 0 whatever the membrane's value, which
    is what makes the online gradient close to the full one (Theorem 4.2).
    """
    m = lam * v + current
    s = torch.relu(m - theta)
    return s, m - s


def parallel_empf_step(current: Tensor, theta: Tensor) -> Tensor:
    """Version III: no residual membrane, m = I, s = relu(m - theta); time steps are independent of each other."""
    return torch.relu(current - theta)


class EMPF(Neuron):
    """EM-PF neuron, version I (eq. 5), or version III with `parallel=True`.

    lam and theta are learned: one shared value (endless streams), or `steps` values, one for each time step. lam is a
    sigmoid and theta a softplus of the trained parameter, so they stay in [0, 1] and above 0; lam given as exactly 0 or
    1 has no gradient and stays.
    """

    def __init__(self, lam: float = 0.8, theta: float = 1.0, steps: int | None = None, parallel: bool = False) -> None:
        super().__init__()
        check_lam_theta("EMPF", lam, theta)
        if steps is not None and steps < 1:
            raise ConfigError(f"EMPF: expected steps >= 1 or None, got {steps}")
        self.initial = {"lam": lam, "theta": theta, "steps": steps, "parallel": parallel}
        self.parallel = parallel
        shape = (1 if steps is None else steps,)
        self.theta_raw = nn.Parameter(torch.full(shape, theta + math.log(-math.expm1(-theta))))
        self.lam_raw = None if parallel else nn.Parameter(torch.logit(torch.full(shape, lam)))

    def lam_values(self) -> Tensor:
        return torch.zeros_like(self.theta_raw) if self.lam_raw is None else torch.sigmoid(self.lam_raw)

    def theta_values(self) -> Tensor:
        return nn.functional.softplus(self.theta_raw)

    def forward(self, current: Tensor, v: Tensor | None, t: int) -> tuple[Tensor, Tensor | None]:
        theta = at_step(self.theta_values(), t)
        if self.parallel:
            return parallel_empf_step(current, theta), None
        return empf_step(current, torch.zeros_like(current) if v is None else v, at_step(self.lam_values(), t), theta)

    def config(self) -> dict[str, Any]:
        return {"kind": "empf", **self.initial}
