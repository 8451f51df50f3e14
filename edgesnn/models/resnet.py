"""Residual networks with batch norm (He et al., CVPR and ECCV 2016): spiking, pre-activation and EM-PF blocks.

`block` says which:

- "spiking": neuron(branch + shortcut), branch = conv-norm-neuron-conv-norm (Zheng et al., AAAI 2021).
- "empf": the same, and the neurons inside of the branch are the parallel version III: half of all neurons have no
  membrane to wait for (EM-PF Fig. 3b). The neuron must be EM-PF.
- "preactivation": branch + shortcut, branch = norm-neuron-conv-norm-neuron-conv (DSR's networks).

`stem`: "small" (3x3 convolution) for images of CIFAR's size, "large" (7x7 with stride 2, 3x3 maximum with stride 2) for
ImageNet's. `attention`: the kernel of SECA, or None; the second convolution of each block gets variant 2, the first one
variant 1 where it changes the size. `width`: channels of the first stage, 64 (ResNet-19: 128) in the literature.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from edgesnn.errors import ConfigError
from edgesnn.layers import SECA, Readout
from edgesnn.models.blocks import Attention, Residual
from edgesnn.models.network import Network
from edgesnn.models.parts import Layers, Parts, checked_image
from edgesnn.models.registry import constructor
from edgesnn.neurons import EMPF, MembraneNormEMPF, Neuron

BLOCKS = ("spiking", "empf", "preactivation")
STEMS = ("small", "large")


@constructor
def resnet18(
    input_shape: Sequence[int],
    classes: int,
    neuron: Neuron | None = None,
    weights: str = "binary",
    seed: int = 0,
    leak: float = 1.0,
    norm: str = "batch",
    block: str = "spiking",
    stem: str = "small",
    attention: int | None = None,
    width: int = 64,
) -> Network:
    """Two blocks each of 64, 128, 256 and 512 channels."""
    maker = _Maker("resnet18", Parts(neuron, weights, norm), block, stem, attention)
    layers, features = maker.body(input_shape, [width, 2 * width, 4 * width, 8 * width], [2, 2, 2, 2])
    return _headed(layers, input_shape, features, classes, leak)


@constructor
def resnet19(
    input_shape: Sequence[int],
    classes: int,
    neuron: Neuron | None = None,
    weights: str = "binary",
    seed: int = 0,
    leak: float = 1.0,
    norm: str = "batch",
    block: str = "spiking",
    stem: str = "small",
    attention: int | None = None,
    width: int = 128,
) -> Network:
    """Three blocks of 128 channels, three of 256, two of 512; 256 neurons before the readout (Zheng et al., 2021)."""
    parts = Parts(neuron, weights, norm)
    maker = _Maker("resnet19", parts, block, stem, attention)
    layers, features = maker.body(input_shape, [width, 2 * width, 4 * width], [3, 3, 2])
    return _headed(layers, input_shape, features, classes, leak, parts.linear_unit(9, features, 2 * width))


@constructor
def resnet34(
    input_shape: Sequence[int],
    classes: int,
    neuron: Neuron | None = None,
    weights: str = "binary",
    seed: int = 0,
    leak: float = 1.0,
    norm: str = "batch",
    block: str = "spiking",
    stem: str = "large",
    attention: int | None = None,
    width: int = 64,
) -> Network:
    """Three blocks of 64 channels, four of 128, six of 256, three of 512."""
    maker = _Maker("resnet34", Parts(neuron, weights, norm), block, stem, attention)
    layers, features = maker.body(input_shape, [width, 2 * width, 4 * width, 8 * width], [3, 4, 6, 3])
    return _headed(layers, input_shape, features, classes, leak)


def _headed(
    layers: Layers, input_shape: Sequence[int], features: int, classes: int, leak: float, hidden: Layers | None = None
) -> Network:
    """Mean over the pixels, `hidden` fully connected layers, readout."""
    layers = {**layers, "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(1), **(hidden or {})}
    if hidden:
        features = next(layer.out_features for layer in hidden.values() if isinstance(layer, nn.Linear))
    return Network({**layers, "readout": Readout(features, classes, leak)}, {}, tuple(input_shape), classes)


class _Maker:
    """Stem and blocks, for the options of one network."""

    def __init__(self, model: str, parts: Parts, block: str, stem: str, attention: int | None) -> None:
        if block not in BLOCKS:
            raise ConfigError(f"{model}: expected block to be one of {list(BLOCKS)}, got {block!r}")
        if stem not in STEMS:
            raise ConfigError(f"{model}: expected stem to be one of {list(STEMS)}, got {stem!r}")
        self.model, self.parts, self.block, self.stem, self.attention = model, parts, block, stem, attention
        self.inner = self._parallel(parts.prototype) if block == "empf" else parts.prototype

    def _parallel(self, neuron: Neuron) -> Neuron:
        """Version III with the threshold of a version I or II."""
        if not isinstance(neuron, EMPF | MembraneNormEMPF):
            raise ConfigError(
                f"{self.model}: expected an EM-PF neuron for block='empf', got {type(neuron).__name__}; "
                "use block='spiking'"
            )
        initial = neuron.initial
        return EMPF(initial["lam"], initial["theta"], initial["steps"], parallel=True)

    def body(self, input_shape: Sequence[int], widths: list[int], repeats: list[int]) -> tuple[Layers, int]:
        """Stem, block1, block2, ... and the number of channels that leave them."""
        parts = self.parts
        inputs, *_ = checked_image(self.model, input_shape)
        channels = widths[0]
        kernel = {"kernel": 3} if self.stem == "small" else {"kernel": 7, "stride": 2}
        layers: Layers = {"conv0": parts.conv(inputs, channels, first=True, **kernel)}
        if self.block != "preactivation":
            layers |= {**parts.norm2d(0, channels), "neuron0": parts.neurons(channels)}
        if self.stem == "large":
            layers["pool0"] = nn.MaxPool2d(3, 2, 1)
        index = 0
        for stage, (width, blocks) in enumerate(zip(widths, repeats, strict=True)):
            for i in range(blocks):
                index += 1
                stride = 2 if stage > 0 and i == 0 else 1
                make = self._preactivation if self.block == "preactivation" else self._postactivation
                layers |= make(index, channels, width, stride)
                channels = width
        if self.block == "preactivation":
            layers |= {**parts.norm2d("", channels), "neuron": parts.neurons(channels)}
        return layers, channels

    def _postactivation(self, index: int, inputs: int, outputs: int, stride: int) -> Layers:
        parts = self.parts
        branch = parts.conv_norm(1, inputs, outputs, stride=stride)
        shortcut: Layers = {}
        if stride != 1 or inputs != outputs:
            branch |= self._attention1()
            shortcut = parts.conv_norm(1, inputs, outputs, kernel=1, stride=stride)
        branch |= self._attended({"neuron1": self.inner.sized(outputs), **parts.conv_norm(2, outputs, outputs)})
        return {f"block{index}": Residual(branch, shortcut), f"neuron{index}": parts.neurons(outputs)}

    def _preactivation(self, index: int, inputs: int, outputs: int, stride: int) -> Layers:
        """Where the size changes, the shortcut is a convolution of the spikes too, so norm and neuron come before the
        block (He et al., ECCV 2016).
        """
        parts = self.parts
        before = {**parts.norm2d(index, inputs), f"neuron{index}": parts.neurons(inputs)}
        branch: Layers = {"conv1": parts.conv(inputs, outputs, stride=stride)}
        changed = stride != 1 or inputs != outputs
        if changed:
            branch |= self._attention1()
        second = {**parts.norm2d(2, outputs), "neuron2": parts.neurons(outputs), "conv2": parts.conv(outputs, outputs)}
        branch |= self._attended(second)
        if changed:
            shortcut = {"conv1": parts.conv(inputs, outputs, kernel=1, stride=stride)}
            return {**before, f"block{index}": Residual(branch, shortcut)}
        inside = {**parts.norm2d(1, inputs), "neuron1": before[f"neuron{index}"]}
        return {f"block{index}": Residual({**inside, **branch})}

    def _attention1(self) -> Layers:
        return {} if self.attention is None else {"seca1": SECA(self.attention)}

    def _attended(self, layers: Layers) -> dict[str, Any]:
        return layers if self.attention is None else {"attention2": Attention(layers, self.attention)}
