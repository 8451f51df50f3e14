"""The last layer: logits at each step, and a leaky sum of them so that an endless stream has a decision."""

import torch
from torch import Tensor, nn

from edgesnn.errors import ConfigError


class Readout(nn.Linear):
    """Logits [N, K] of one step; `leak` in [0, 1] is used by `accumulate` (1: the plain sum over the steps)."""

    def __init__(self, inputs: int, classes: int, leak: float = 1.0) -> None:
        super().__init__(inputs, classes)
        if not 0.0 <= leak <= 1.0:
            raise ConfigError(f"readout: expected a leak in [0, 1], got {leak}")
        self.leak = leak

    def accumulate(self, acc: Tensor, logits: Tensor) -> Tensor:
        """acc' = leak*acc + logits, both [N, K]."""
        return self.leak * acc + logits


def leaky_integrate(readout: Readout, logits: Tensor) -> Tensor:
    """The readout's accumulator after every step, from zero: logits [T, N, K] -> [T, N, K]."""
    acc = torch.zeros_like(logits[0])
    result = torch.empty_like(logits)
    for t in range(logits.shape[0]):
        acc = readout.accumulate(acc, logits[t])
        result[t] = acc
    return result
