"""Brevitas quantizers: what a weight, a spike and an input become as integers.

A quantized value is `scale * integer`; the exporter reads both from the same modules that trained.
"""

from __future__ import annotations

from typing import Any

import torch
from brevitas.core.quant import BinaryQuant
from brevitas.inject.enum import QuantType, RestrictValueType, ScalingImplType, StatsOp
from brevitas.quant.scaled_int import (
    Int8ActPerTensorFloatMinMaxInit,
    Int8WeightPerChannelFloat,
    Int8WeightPerTensorFloat,
    Uint8ActPerTensorFloatMaxInit,
)
from brevitas.quant.solver import WeightQuantSolver
from torch import Tensor

from edgesnn.layers import binarize

__all__ = ["BinaryWeight", "IntWeight", "ReadoutWeight", "SignedInput", "Spike", "UnsignedInput"]


class ClippedBinaryQuant(BinaryQuant):  # type: ignore[misc]
    """`binarize` (EM-PF eq. 3) in Brevitas' dress: +-mean|W| per output channel, gradient clipped to |W| <= 1."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        scale: Tensor = self.scaling_impl(x).detach()
        return binarize(x), scale, self.zero_point(), self.bit_width()


class BinaryWeight(WeightQuantSolver):  # type: ignore[misc]
    """1-bit weights, one scale per output channel."""

    quant_type = QuantType.BINARY
    bit_width = 1
    signed = True
    narrow_range = True
    scaling_impl_type = ScalingImplType.STATS
    scaling_stats_op = StatsOp.AVE
    scaling_per_output_channel = True
    restrict_scaling_type = RestrictValueType.FP
    scaling_min_val = 1e-8
    tensor_quant = ClippedBinaryQuant


class IntWeight(Int8WeightPerChannelFloat):  # type: ignore[misc]
    """Symmetric integer weights, one scale per output channel; `bit_width` is overridden per layer."""


class ReadoutWeight(Int8WeightPerTensorFloat):  # type: ignore[misc]
    """Symmetric int8 weights with one scale for all classes, so that integer logits compare directly."""


class Spike(Uint8ActPerTensorFloatMaxInit):  # type: ignore[misc]
    """Graded spikes 0 .. 2^bits - 1 with one trained scale; `max_val` is set by calibration."""


class SignedInput(Int8ActPerTensorFloatMinMaxInit):  # type: ignore[misc]
    """int8 input frames."""


class UnsignedInput(Uint8ActPerTensorFloatMaxInit):  # type: ignore[misc]
    """uint8 input frames."""


def scalar(value: Any) -> float:
    """A Brevitas scale as a Python float."""
    return float(torch.as_tensor(value).detach().reshape(()).item())
