"""Synapses with fake-quantized weights, in place of torch's and of the standardized ones."""

from __future__ import annotations

from typing import Any

import brevitas.nn as qnn
from torch import Tensor, nn

from edgesnn.layers import StandardizedConv2d, StandardizedLinear, standardize
from edgesnn.quant.quantizers import BinaryWeight, IntWeight, PowerOfTwoBinaryWeight, restricted


def quant_synapse(source: nn.Linear | nn.Conv1d | nn.Conv2d, bits: int, power_of_two: bool = False) -> nn.Module:
    """The layer of the same kind with weights of `bits`, copied from `source`; scales free or powers of two."""
    match source:
        case StandardizedLinear():
            return QuantStandardizedLinear(source, bits, power_of_two)
        case StandardizedConv2d():
            return QuantStandardizedConv2d(source, bits, power_of_two)
        case nn.Linear():
            return quant_linear(source, bits, power_of_two)
        case nn.Conv1d():
            return _copied(qnn.QuantConv1d(**_conv_arguments(source), **_weights(bits, power_of_two)), source)
    return quant_conv2d(source, bits, power_of_two)


def quant_linear(source: nn.Linear, bits: int, power_of_two: bool = False) -> nn.Module:
    """A fully connected layer with weights of `bits`, weights copied from `source`."""
    return _copied(qnn.QuantLinear(*_linear_sizes(source), **_weights(bits, power_of_two)), source)


def quant_conv2d(source: nn.Conv2d, bits: int, power_of_two: bool = False) -> nn.Module:
    """A convolution with weights of `bits`, weights copied from `source`."""
    return _copied(qnn.QuantConv2d(**_conv_arguments(source), **_weights(bits, power_of_two)), source)


class _Standardized:
    """Quantizes what `standardize` makes of the weights."""

    weight: Tensor
    gain: Tensor
    gamma: float
    weight_quant: nn.Module

    def quant_weight(self, quant_input: Any = None, subtensor_slice_list: Any = None) -> Any:  # noqa: ARG002
        """Brevitas' hook for the weights that the input meets."""
        return self.weight_quant(standardize(self.weight, self.gamma, self.gain))


class QuantStandardizedLinear(_Standardized, qnn.QuantLinear):  # type: ignore[misc]
    """`StandardizedLinear` whose standardized weights are quantized."""

    def __init__(self, source: StandardizedLinear, bits: int, power_of_two: bool = False) -> None:
        qnn.QuantLinear.__init__(self, *_linear_sizes(source), **_weights(bits, power_of_two))
        self.gamma, self.gain = source.gamma, nn.Parameter(source.gain.detach().clone())
        _copied(self, source)


class QuantStandardizedConv2d(_Standardized, qnn.QuantConv2d):  # type: ignore[misc]
    """`StandardizedConv2d` whose standardized weights are quantized."""

    def __init__(self, source: StandardizedConv2d, bits: int, power_of_two: bool = False) -> None:
        qnn.QuantConv2d.__init__(self, **_conv_arguments(source), **_weights(bits, power_of_two))
        self.gamma, self.gain = source.gamma, nn.Parameter(source.gain.detach().clone())
        _copied(self, source)


def _linear_sizes(source: nn.Linear) -> tuple[int, int, bool]:
    return source.in_features, source.out_features, source.bias is not None


def _conv_arguments(source: nn.Conv1d | nn.Conv2d) -> dict[str, Any]:
    return {
        "in_channels": source.in_channels,
        "out_channels": source.out_channels,
        "kernel_size": source.kernel_size,
        "stride": source.stride,
        "padding": source.padding,
        "dilation": source.dilation,
        "groups": source.groups,
        "bias": source.bias is not None,
    }


def _weights(bits: int, power_of_two: bool) -> dict[str, Any]:
    if bits == 1:
        return {"weight_quant": PowerOfTwoBinaryWeight if power_of_two else BinaryWeight}
    return {"weight_quant": IntWeight, "weight_bit_width": bits, **restricted(power_of_two, "weight_")}


def _copied(layer: nn.Module, source: nn.Module) -> nn.Module:
    layer.load_state_dict(source.state_dict(), strict=False)
    return layer
