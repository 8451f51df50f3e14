"""A factor between layers."""

import torch
from torch import Tensor, nn


class Scale(nn.Module):
    """y = factor * x; with `trained` y = factor * gain * x, where the scalar gain is a parameter that starts at 0
    (SkipInit: a residual branch is silent at first; Brock et al., ICLR 2021).
    """

    def __init__(self, factor: float, trained: bool = False) -> None:
        super().__init__()
        self.factor = factor
        self.gain = nn.Parameter(torch.zeros(())) if trained else None

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x if self.gain is None else self.factor * self.gain * x
