"""What all neuron modules share."""

import copy
import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from edgesnn.errors import ConfigError

FLOAT32 = torch.finfo(torch.float32)


class Neuron(nn.Module, ABC):
    """A spiking neuron. Parameters hold one value, or T values used in turn (index t modulo T).

    Modules passed to constructors of networks are prototypes: every layer gets a copy, `sized` for its channels.
    """

    kind: ClassVar[str]  # name of the class in `config()`
    initial: dict[str, Any]  # the arguments of the constructor

    @abstractmethod
    def forward(self, current: Tensor, v: Tensor | None, t: int) -> tuple[Tensor, Tensor | None]:
        """Spikes and the new membrane [N, C, ...] from the input current and the old membrane (None: zero)."""

    @abstractmethod
    def lam_values(self) -> Tensor:
        """Leak, shape [1] or [T], or [1, C] or [T, C] where every channel has its own."""

    @abstractmethod
    def theta_values(self) -> Tensor:
        """Threshold, shaped as `lam_values`."""

    @abstractmethod
    def emission_variance(self) -> float:
        """Var(s) at one step from rest for a current from N(0, 1): what standardized weights scale for."""

    def config(self) -> dict[str, Any]:
        """JSON description; `neurons.build` makes a neuron with the same initial parameters."""
        return {"kind": self.kind, **self.initial}

    def sized(self, channels: int) -> Self:  # noqa: ARG002  (for neurons with a value a channel)
        """A copy for a layer of so many channels."""
        return copy.deepcopy(self)


def at_step(values: Tensor, t: int, dims: int = 0) -> Tensor:
    """The value of time step t from [1] or [T]; from [1, C] or [T, C] one to broadcast over [N, C, ...] of `dims`."""
    value = values[t % values.shape[0]]
    return value if value.dim() == 0 else value.reshape(-1, *[1] * (dims - 2))


def by_channel(values: Tensor, channels: int) -> nn.Parameter:
    """A parameter [T, C] that starts at the values [T, 1] in every channel; trained where they are."""
    return nn.Parameter(values.detach().expand(-1, channels).clone(), values.requires_grad)


def leak_parameter(steps: int | None, lam: float, per_channel: bool = False) -> nn.Parameter:
    """The x with sigmoid(x) = lam, as `filled`. Where lam is exactly 0 or 1, x is infinite and not trained: it has no
    gradient, and the decay of an infinite weight is no number. One lam serves all steps and channels, so that either
    all of them are trained or none.
    """
    trained = 0.0 < torch.tensor(lam, device="cpu").item() < 1.0  # as the parameter rounds it, also without values
    return nn.Parameter(torch.logit(filled(steps, lam, per_channel)), trained)


def softplus_inverse(value: float) -> float:
    """x with log(1 + e^x) = value > 0, exact for small values and large ones."""
    return value + math.log(-math.expm1(-value))


def above(threshold: float) -> float:
    """P(x > threshold) for x from N(0, 1)."""
    return 0.5 * math.erfc(threshold / math.sqrt(2))


def widened(neuron: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:  # noqa: ARG001  (torch's signature)
    """A hook before a neuron, for mixed precision: the current in float32."""
    current, *others = arguments
    return (current.float(), *others)


def positive(value: float) -> bool:
    """Whether float32, in which networks compute, has the number as one above 0; NaN is none."""
    return FLOAT32.tiny <= value <= FLOAT32.max


def check_lam_theta(neuron: str, lam: float, theta: float) -> None:
    if not 0.0 <= lam <= 1.0:
        raise ConfigError(f"{neuron}: expected a leak lam in [0, 1], got {lam}")
    if not positive(theta):
        raise ConfigError(
            f"{neuron}: expected a threshold theta > 0, {FLOAT32.tiny:.3g} to {FLOAT32.max:.3g} as float32 has them, "
            f"got {theta}"
        )


def check_steps(neuron: str, steps: int | None) -> None:
    if steps is not None and steps < 1:
        raise ConfigError(f"{neuron}: expected steps >= 1 or None, got {steps}")


def filled(steps: int | None, value: float, per_channel: bool = False) -> Tensor:
    """A table [T] (T = 1 without steps) of one value, or [T, 1] that `by_channel` widens."""
    length = 1 if steps is None else steps
    return torch.full((length, 1) if per_channel else (length,), value)
