"""Synapses with 1-bit weights and one scale per output channel (EM-PF eq. 3; BConv of Liu et al., 2021)."""

from typing import Any

import torch
from torch import Tensor, nn

from edgesnn.layers.window import once


class _Binarize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        scale = weight.abs().mean(dim=tuple(range(1, weight.dim())), keepdim=True)
        return torch.where(weight >= 0, scale, -scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (weight,) = ctx.saved_tensors
        return grads[0] * (weight.abs() <= 1)


def binarize(weight: Tensor) -> Tensor:
    """W_b = sign(W) * mean|W| for each output channel, with sign(0) = +1; weight is [O, ...].

    Straight-through gradient: dL/dW = dL/dW_b where |W| <= 1, else 0. The scale is a constant for the gradient.
    """
    result: Tensor = _Binarize.apply(weight)
    return result


class BinaryLinear(nn.Linear):
    """torch's Linear with `binarize`d weights [O, C]; `weight` is the real-valued latent."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, once(self, lambda: binarize(self.weight)), self.bias)


class BinaryConv2d(nn.Conv2d):
    """torch's Conv2d with `binarize`d weights [O, C, kh, kw]; `weight` is the real-valued latent."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, once(self, lambda: binarize(self.weight)), self.bias)
