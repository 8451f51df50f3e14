"""EM-PF version II: the membrane passes a batch norm before it fires, and at inference version I is left of it."""

import copy
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from edgesnn.errors import ConfigError
from edgesnn.neurons.base import (
    FLOAT32,
    Neuron,
    at_step,
    by_channel,
    check_lam_theta,
    check_steps,
    filled,
    leak_parameter,
    softplus_inverse,
)
from edgesnn.neurons.empf import empf_fire, empf_step, rectified_variance


class MembraneNormEMPF(Neuron):
    """EM-PF neuron, version II: m = lam*v + I, m^ = w1(t)*m + w2(t)*BN_t(m), s = relu(m^ - theta), v' = m^ - s (eq. 6).

    w1 = 1, w2 = 0 is version I. lam, theta, w1, w2 and the scale and shift of the norm are learned, with a value for
    each of `steps` time steps (None: one shared); the norm has them by channel, and its own running statistics for each
    time step. `reparameterize` gives the neuron for inference. The statistics need a batch of more than one value a
    channel in training. lam given as exactly 0 or 1 is not trained and stays.
    """

    kind: ClassVar[str] = "empf-norm"
    running_mean: Tensor  # [T, C]
    running_var: Tensor  # [T, C]
    EPS, MOMENTUM = 1e-5, 0.1  # those of torch's batch norm

    def __init__(
        self, lam: float = 0.8, theta: float = 1.0, steps: int | None = None, w1: float = 1.0, w2: float = 0.0
    ) -> None:
        super().__init__()
        check_lam_theta("MembraneNormEMPF", lam, theta)
        check_steps("MembraneNormEMPF", steps)
        for name, value in (("w1", w1), ("w2", w2)):
            if not abs(value) <= FLOAT32.max:
                raise ConfigError(f"MembraneNormEMPF: expected a finite {name}, as float32 has them, got {value}")
        self.initial = {"lam": lam, "theta": theta, "steps": steps, "w1": w1, "w2": w2}
        self.lam_raw = leak_parameter(steps, lam)
        self.theta_raw = nn.Parameter(filled(steps, softplus_inverse(theta)))
        self.w1, self.w2 = nn.Parameter(filled(steps, w1)), nn.Parameter(filled(steps, w2))
        self.weight, self.bias = nn.Parameter(filled(steps, 1.0, True)), nn.Parameter(filled(steps, 0.0, True))
        self.register_buffer("running_mean", filled(steps, 0.0, True))
        self.register_buffer("running_var", filled(steps, 1.0, True))

    def sized(self, channels: int) -> Self:
        neuron = copy.deepcopy(self)
        neuron.weight, neuron.bias = by_channel(self.weight, channels), by_channel(self.bias, channels)
        neuron.running_mean = self.running_mean.expand(-1, channels).clone()
        neuron.running_var = self.running_var.expand(-1, channels).clone()
        return neuron

    def lam_values(self) -> Tensor:
        return torch.sigmoid(self.lam_raw)

    def theta_values(self) -> Tensor:
        return nn.functional.softplus(self.theta_raw)

    def emission_variance(self) -> float:
        return rectified_variance(self.initial["theta"])

    def forward(self, current: Tensor, v: Tensor | None, t: int) -> tuple[Tensor, Tensor | None]:
        channels = self.running_mean.shape[1]
        if current.shape[1] != channels:
            raise ConfigError(
                f"MembraneNormEMPF: expected a current of {channels} channels, got {current.shape[1]}; "
                "use a copy made by sized(channels)"
            )
        m = current if v is None else at_step(self.lam_values(), t) * v + current
        at = t % len(self.running_mean)
        normed = nn.functional.batch_norm(
            m,
            self.running_mean[at],
            self.running_var[at],
            self.weight[at],
            self.bias[at],
            self.training,
            self.MOMENTUM,
            self.EPS,
        )
        return empf_fire(at_step(self.w1, t) * m + at_step(self.w2, t) * normed, at_step(self.theta_values(), t))

    @torch.no_grad()
    def reparameterize(self) -> "FoldedEMPF":
        """Version I that computes the same with the running statistics (eq. 7-8).

        m^ = a*m + b with a = w1 + w2*weight/sigma and b = w2*(bias - weight*mean/sigma), so that a*lam is the leak and
        a*I + b the current.
        """
        slope = self.weight / torch.sqrt(self.running_var + self.EPS)
        w1, w2 = self.w1[:, None], self.w2[:, None]
        gain, shift = w1 + w2 * slope, w2 * (self.bias - slope * self.running_mean)
        folded = FoldedEMPF(len(gain)).sized(gain.shape[1])
        folded.lam.copy_(gain * self.lam_values()[:, None])
        folded.theta.copy_(self.theta_values())
        folded.gain.copy_(gain)
        folded.shift.copy_(shift)
        return folded.to(gain.dtype)


class FoldedEMPF(Neuron):
    """Version I as eq. 8 leaves it: m = lam(t)*v + gain(t)*I + shift(t), s = relu(m - theta(t)), v' = m - s.

    All are constants: lam, gain, shift [T, C], lam not bound to [0, 1]; theta [T].
    """

    kind: ClassVar[str] = "empf-folded"
    lam: Tensor
    theta: Tensor
    gain: Tensor
    shift: Tensor

    def __init__(self, steps: int = 1) -> None:
        super().__init__()
        check_steps("FoldedEMPF", steps)
        self.initial = {"steps": steps}
        for name, value in (("lam", 0.0), ("gain", 1.0), ("shift", 0.0)):
            self.register_buffer(name, filled(steps, value, True))
        self.register_buffer("theta", filled(steps, 1.0))

    def sized(self, channels: int) -> Self:
        neuron = copy.deepcopy(self)
        for name in ("lam", "gain", "shift"):
            setattr(neuron, name, getattr(self, name).expand(-1, channels).clone())
        return neuron

    def lam_values(self) -> Tensor:
        return self.lam

    def theta_values(self) -> Tensor:
        return self.theta

    def emission_variance(self) -> float:
        return rectified_variance(float(self.theta.mean()))

    def forward(self, current: Tensor, v: Tensor | None, t: int) -> tuple[Tensor, Tensor | None]:
        dims = current.dim()
        drive = at_step(self.gain, t, dims) * current + at_step(self.shift, t, dims)
        v = torch.zeros_like(current) if v is None else v
        return empf_step(drive, v, at_step(self.lam, t, dims), at_step(self.theta, t))
