"""Synaptic layers: torch's own where the weights are real numbers, and the binary ones and the readout below."""

from torch.nn import Conv2d, Linear

from edgesnn.layers.binary import BinaryConv2d, BinaryLinear, binarize
from edgesnn.layers.readout import Readout, leaky_integrate

__all__ = ["BinaryConv2d", "BinaryLinear", "Conv2d", "Linear", "Readout", "binarize", "leaky_integrate"]
