"""What all neuron modules share."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from edgesnn.errors import ConfigError


class Neuron(nn.Module, ABC):
    """A spiking neuron. Parameters hold one value, or T values used in turn (index t modulo T)."""

    @abstractmethod
    def forward(self, current: Tensor, v: Tensor | None, t: int) -> tuple[Tensor, Tensor | None]:
        """Spikes and the new membrane [N, C, ...] from the input current and the old membrane (None: zero)."""

    @abstractmethod
    def lam_values(self) -> Tensor:
        """Leak in [0, 1], shape [1] or [T]."""

    @abstractmethod
    def theta_values(self) -> Tensor:
        """Threshold > 0, shape [1] or [T]."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """JSON description; `neurons.build` makes a neuron with the same initial parameters."""


def at_step(values: Tensor, t: int) -> Tensor:
    """The scalar of time step t from a tensor [1] or [T]."""
    return values[t % values.shape[0]]


def check_lam_theta(neuron: str, lam: float, theta: float) -> None:
    if not 0.0 <= lam <= 1.0:
        raise ConfigError(f"{neuron}: expected a leak lam in [0, 1], got {lam}")
    if not 0.0 < theta < float("inf"):
        raise ConfigError(f"{neuron}: expected a threshold theta > 0, got {theta}")
