"""Synapses with their norms and neurons, as the options of a network say: what every constructor puts together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from edgesnn.errors import ConfigError
from edgesnn.layers import (
    BinaryConv2d,
    BinaryLinear,
    Conv2d,
    Linear,
    StandardizedConv2d,
    StandardizedLinear,
)
from edgesnn.neurons import Neuron

Layers = dict[str, nn.Module]
#: Synapses of real, binary and standardized weights.
_Kinds = tuple[type[nn.Module], type[nn.Module], type[nn.Module]]
_CONV: _Kinds = (Conv2d, BinaryConv2d, StandardizedConv2d)
_LINEAR: _Kinds = (Linear, BinaryLinear, StandardizedLinear)


@dataclass(frozen=True)
class Parts:
    """weights, norm: the options of a constructor; neuron: the prototype of all neurons.

    A synapse called `first` sees the input of the network: its weights stay real, and standardized ones expect an
    input of variance 1, where those of other layers expect that of the neuron's spikes.
    """

    neuron: Neuron | None
    weights: str
    norm: str

    def conv(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, padding: int | None = None,
        first: bool = False,
    ) -> nn.Module:  # fmt: skip
        """A convolution; padding None keeps the size (at stride 1)."""
        padding = kernel // 2 if padding is None else padding
        return self._synapse(_CONV, first, inputs, outputs, kernel, stride=stride, padding=padding)

    def linear(self, inputs: int, outputs: int, first: bool = False) -> nn.Module:
        return self._synapse(_LINEAR, first, inputs, outputs)

    def _synapse(self, kinds: _Kinds, first: bool, *sizes: int, **options: Any) -> nn.Module:
        real, binary, standardized = kinds
        is_binary = self.weights == "binary" and not first
        options["bias"] = self.norm != "batch"  # which has one of its own
        if self.norm == "standardized":
            gamma = 1.0 if first else 1 / math.sqrt(self.prototype.emission_variance())
            return standardized(*sizes, gamma=gamma, binary=is_binary, **options)
        return (binary if is_binary else real)(*sizes, **options)

    @property
    def prototype(self) -> Neuron:
        """`registry.constructor` puts one where there is None."""
        return cast(Neuron, self.neuron)

    def neurons(self, channels: int) -> Neuron:
        return self.prototype.sized(channels)

    def norm1d(self, index: object, channels: int) -> Layers:
        """{"norm<index>": batch norm of [N, C]}, or nothing."""
        return {f"norm{index}": nn.BatchNorm1d(channels)} if self.norm == "batch" else {}

    def norm2d(self, index: object, channels: int) -> Layers:
        """{"norm<index>": batch norm of [N, C, H, W]}, or nothing."""
        return {f"norm{index}": nn.BatchNorm2d(channels)} if self.norm == "batch" else {}

    def conv_norm(self, index: object, inputs: int, outputs: int, **options: Any) -> Layers:
        """conv<index>, norm<index>: an input current."""
        return {f"conv{index}": self.conv(inputs, outputs, **options), **self.norm2d(index, outputs)}

    def conv_unit(self, index: object, inputs: int, outputs: int, **options: Any) -> Layers:
        """conv<index>, norm<index>, neuron<index>."""
        return {**self.conv_norm(index, inputs, outputs, **options), f"neuron{index}": self.neurons(outputs)}

    def linear_unit(self, index: object, inputs: int, outputs: int, first: bool = False) -> Layers:
        """linear<index>, norm<index>, neuron<index>."""
        synapse = {f"linear{index}": self.linear(inputs, outputs, first), **self.norm1d(index, outputs)}
        return {**synapse, f"neuron{index}": self.neurons(outputs)}


def dropout_layer(index: object, probability: float) -> Layers:
    """{"dropout<index>": ...}, or nothing at probability 0. Every time step draws its own values to drop."""
    return {f"dropout{index}": nn.Dropout(probability)} if probability else {}


def checked_sizes(name: str, sizes: Sequence[int]) -> list[int]:
    if not sizes or any(size < 1 for size in sizes):
        raise ConfigError(f"{name}: expected at least one size, all >= 1, got {list(sizes)}")
    return list(sizes)


def checked_image(model: str, input_shape: Sequence[int], smallest: int = 1) -> tuple[int, int, int]:
    """(channels, height, width), each side of at least `smallest` pixels, else ConfigError."""
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ConfigError(f"{model}: expected an input_shape (channels, height, width), got {tuple(input_shape)}")
    channels, height, width = input_shape
    if min(height, width) < smallest:
        raise ConfigError(
            f"{model}: expected images of at least {smallest} pixels a side, got {height}x{width}; "
            "use larger images, or a network with fewer poolings"
        )
    return channels, height, width
