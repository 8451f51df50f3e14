"""Scaled weight standardization: synapses that keep the variance of their input, where no norm over time is wanted.

(Brock et al., ICLR 2021; OTTT supplement C.1, eq. 6)
"""

from typing import Any

import torch
from torch import Tensor, nn

from edgesnn.layers.binary import binarize

_EPS = 1e-4  # as in the pseudocode of Brock et al.


def standardize(weight: Tensor, gamma: float, gain: Tensor) -> Tensor:
    """W^ = gain * gamma * (W - mean) / (std * sqrt(N)) for each output channel; weight [O, ...] with N inputs each.

    gain: [O, 1, ...], trained. With gamma = 1/sqrt(Var(input)) the output of an untrained layer has variance 1.
    """
    dims = tuple(range(1, weight.dim()))
    variance, mean = torch.var_mean(weight, dim=dims, correction=0, keepdim=True)
    inputs = weight[0].numel()
    return gain * gamma * (weight - mean) / torch.sqrt(variance * inputs + _EPS)


class StandardizedLinear(nn.Linear):
    """torch's Linear with `standardize`d weights [O, C], after that `binarize`d where `binary`."""

    def __init__(self, *args: Any, gamma: float = 1.0, binary: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gamma, self.binary = gamma, binary
        self.gain = nn.Parameter(torch.ones(self.out_features, 1))

    def forward(self, x: Tensor) -> Tensor:
        weight = standardize(self.weight, self.gamma, self.gain)
        return nn.functional.linear(x, binarize(weight) if self.binary else weight, self.bias)


class StandardizedConv2d(nn.Conv2d):
    """torch's Conv2d with `standardize`d weights [O, C, kh, kw], after that `binarize`d where `binary`."""

    def __init__(self, *args: Any, gamma: float = 1.0, binary: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gamma, self.binary = gamma, binary
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        weight = standardize(self.weight, self.gamma, self.gain)
        return self._conv_forward(x, binarize(weight) if self.binary else weight, self.bias)
