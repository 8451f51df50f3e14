"""Normalizer-free residual networks (Brock et al., ICLR 2021) of spiking neurons (OTTT supplement C.1).

x' = x + alpha * gain * branch(x / beta), with standardized weights in place of norms: beta^2 is the expected variance
of x, which grows by alpha^2 a block and starts again at 1 + alpha^2 where the size changes, since there the shortcut is
a convolution of the spikes. gain is trained and starts at 0. Weights are standardized for the variance of spikes, where
the paper multiplies spikes with 2.74; poolings are means.
"""

import math
from collections.abc import Sequence

from torch import nn

from edgesnn.layers import Readout, Scale
from edgesnn.models.blocks import Residual
from edgesnn.models.network import Network
from edgesnn.models.parts import Layers, Parts, checked_image
from edgesnn.models.registry import constructor
from edgesnn.neurons import Neuron

ALPHA = 0.2
_REPEATS = (3, 4, 6, 3)


@constructor
def nf_resnet34(
    input_shape: Sequence[int],
    classes: int,
    neuron: Neuron | None = None,
    weights: str = "binary",
    seed: int = 0,
    leak: float = 1.0,
    width: int = 64,
) -> Network:
    """Three blocks of 64 channels, four of 128, six of 256, three of 512; two 3x3 convolutions a block."""
    return _network("nf_resnet34", input_shape, classes, Parts(neuron, weights, "standardized"), leak, width, 1)


@constructor
def nf_resnet50(
    input_shape: Sequence[int],
    classes: int,
    neuron: Neuron | None = None,
    weights: str = "binary",
    seed: int = 0,
    leak: float = 1.0,
    width: int = 64,
) -> Network:
    """As NF-ResNet-34 with bottlenecks: 1x1, 3x3 and 1x1 convolutions a block, the last of four times the channels."""
    return _network("nf_resnet50", input_shape, classes, Parts(neuron, weights, "standardized"), leak, width, 4)


def _network(
    model: str, input_shape: Sequence[int], classes: int, parts: Parts, leak: float, width: int, expansion: int
) -> Network:
    """conv0 (7x7, stride 2), pool0, blocks, mean over the pixels, readout."""
    inputs, *_ = checked_image(model, input_shape)
    layers: Layers = {"conv0": parts.conv(inputs, width, kernel=7, stride=2, first=True)}
    layers["pool0"] = nn.AvgPool2d(3, 2, 1)
    channels, variance, index = width, 1.0, 0
    for stage, repeats in enumerate(_REPEATS):
        inner = width * 2**stage
        outputs = inner * expansion
        for i in range(repeats):
            index += 1
            stride = 2 if stage > 0 and i == 0 else 1
            before: Layers = {"scale1": Scale(1 / math.sqrt(variance)), "neuron1": parts.neurons(channels)}
            branch = _branch(parts, channels, inner, outputs, stride, expansion > 1)
            if stride != 1 or channels != outputs:
                shortcut = {"conv1": parts.conv(channels, outputs, kernel=1, stride=stride)}
                layers |= {f"scale{index}": before["scale1"], f"neuron{index}": before["neuron1"]}
                layers[f"block{index}"] = Residual(branch, shortcut)
                variance = 1.0
            else:
                layers[f"block{index}"] = Residual({**before, **branch})
            variance += ALPHA**2
            channels = outputs
    layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(1), "readout": Readout(channels, classes, leak)}
    return Network(layers, {}, tuple(input_shape), classes)


def _branch(parts: Parts, inputs: int, inner: int, outputs: int, stride: int, bottleneck: bool) -> Layers:
    """From the block's first spikes to its scaled current."""
    if bottleneck:
        sizes = [(inputs, inner, 1, 1), (inner, inner, 3, stride), (inner, outputs, 1, 1)]
    else:
        sizes = [(inputs, inner, 3, stride), (inner, outputs, 3, 1)]
    layers: Layers = {}
    for i, (before, after, kernel, step) in enumerate(sizes, start=1):
        if i > 1:
            layers[f"neuron{i}"] = parts.neurons(before)
        layers[f"conv{i}"] = parts.conv(before, after, kernel=kernel, stride=step)
    return {**layers, "scale2": Scale(ALPHA, trained=True)}
