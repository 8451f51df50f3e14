"""Scaled weight standardization: synapses that keep the variance of their input, where no norm over time is wanted.

(Brock et al., ICLR 2021; OTTT supplement C.1, eq. 6)
"""

from typing import Any

import torch
from torch import Tensor, nn

from edgesnn.layers.binary import binarize
from edgesnn.layers.window import once

_EPS = 1e-4  # as in the pseudocode of Brock et al.


def standardize(weight: Tensor, gamma: float, gain: Tensor) -> Tensor:
    """W^ = gain * gamma * (W - mean) / (std * sqrt(N)) for each output channel; weight [O, ...] with N inputs each.

    gain: [O, 1, ...], trained. With gamma = 1/sqrt(Var(input)) the output of an untrained layer has variance 1.
    """
    dims = tuple(range(1, weight.dim()))
    centred = weight - weight.mean(dims, keepdim=True)
    scale = gain * gamma / torch.sqrt(centred.square().sum(dims, keepdim=True) + _EPS)  # the sum is N * std^2
    return scale * centred


def _synapses(weight: Tensor, gamma: float, gain: Tensor, binary: bool) -> Tensor:
    standardized = standardize(weight, gamma, gain)
    return binarize(standardized) if binary else standardized


class StandardizedLinear(nn.Linear):
    """torch's Linear with `standardize`d weights [O, C], after that `binarize`d where `binary`."""

    def __init__(self, *args: Any, gamma: float = 1.0, binary: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gamma, self.binary = gamma, binary
        self.gain = nn.Parameter(torch.ones(self.out_features, 1))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, once(self, self.synapses), self.bias)

    def synapses(self) -> Tensor:
        """The weights that the input meets."""
        return _synapses(self.weight, self.gamma, self.gain, self.binary)


class StandardizedConv2d(nn.Conv2d):
    """torch's Conv2d with `standardize`d weights [O, C, kh, kw], after that `binarize`d where `binary`."""

    def __init__(self, *args: Any, gamma: float = 1.0, binary: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gamma, self.binary = gamma, binary
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, once(self, self.synapses), self.bias)

    def synapses(self) -> Tensor:
        """The weights that the input meets."""
        return _synapses(self.weight, self.gamma, self.gain, self.binary)
