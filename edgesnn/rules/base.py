"""The interface of a learning rule."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from edgesnn.models import Network


class Rule(ABC):
    @abstractmethod
    def backward(self, net: Network, x: Tensor, y: Tensor, generator: torch.Generator) -> float:
        """Adds this rule's gradient of the loss (SLTT eq. 14) to `.grad`; returns the loss."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """JSON description for `rules.build`."""
