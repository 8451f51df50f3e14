"""A chain that is described layer by layer: what other frameworks' networks become, and any that no constructor makes.

A layer is {"kind": ..., option: value, ...}:

| kind | options |
|---|---|
| linear | outputs, bias (true) |
| conv | outputs, kernel, stride (1), padding (0), dilation (1), groups (1), bias (true) |
| temporal | outputs, kernel, dilation (1), bias (true): over the steps of a stream |
| max_pool, average_pool | kernel, stride (the kernel), padding (0) |
| flatten | |
| neuron | the prototype that the constructor is given |
| a neuron's, such as lif | its arguments |

kernel, stride, padding and dilation are a number or a list (rows, columns).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from edgesnn import neurons
from edgesnn.arguments import checked
from edgesnn.errors import ConfigError
from edgesnn.layers import BinaryConv2d, BinaryLinear, Conv2d, Linear, Readout, TemporalConv
from edgesnn.models.network import Network
from edgesnn.models.registry import constructor
from edgesnn.neurons import Neuron

#: A number, or rows and columns.
Sides = int | list[int]


@constructor
def sequence(
    input_shape: Sequence[int],
    layers: Sequence[Mapping[str, Any]],
    classes: int,
    neuron: Neuron | None = None,
    weights: str = "binary",
    seed: int = 0,
    leak: float = 1.0,
) -> Network:
    """The layers described, named by their kind and the number of synapses so far (conv1, neuron1, pool1, linear2),
    and a readout of whatever leaves the last.
    """
    if isinstance(layers, str | Mapping) or not all(isinstance(layer, Mapping) for layer in layers):
        raise ConfigError(
            f'sequence layers: expected a list of descriptions such as {{"kind": "neuron"}}, got {layers!r}; '
            "see edgesnn.models.sequence"
        )
    maker = _Maker(tuple(input_shape), cast(Neuron, neuron), weights)
    chain: dict[str, nn.Module] = {}
    for index, layer in enumerate(layers):
        name, module = maker.layer(index, dict(layer))
        if name in chain:
            raise ConfigError(f"sequence layer {index}: expected a synapse before another {name}, got none; put one")
        chain[name] = module
    chain["readout"] = Readout(maker.flat(len(layers), "readout"), classes, leak)
    return Network(chain, {}, tuple(input_shape), classes)


class _Maker:
    """Layers in order; `shape` is that of what leaves the last one, without batch."""

    def __init__(self, shape: tuple[int, ...], neuron: Neuron, weights: str) -> None:
        self.shape, self.neuron, self.weights = shape, neuron, weights
        self.synapses = 0

    def layer(self, index: int, options: dict[str, Any]) -> tuple[str, nn.Module]:
        """Name and module of the layer with this place in the list."""
        kind = options.pop("kind", None)
        outputs = options.get("outputs", 1)
        if type(outputs) is not int or outputs < 1:
            raise ConfigError(
                f"sequence layer {index}, '{kind}': expected outputs >= 1, got {outputs!r}; give a whole number"
            )
        make = self._maker(kind)
        if make is None:
            try:
                return f"neuron{self.synapses}", neurons.build({"kind": kind, **options}).sized(self.shape[0])
            except ConfigError as error:
                raise ConfigError(f"sequence layer {index}: {error}; or a kind of edgesnn.models.sequence") from None
        place, see = f"sequence layer {index}, '{kind}'", "edgesnn.models.sequence"
        try:
            return make(index, **checked(place, make, options, see, given=("index",)))
        except ConfigError:
            raise
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{place}: {error}; see {see}") from None

    def _maker(self, kind: Any) -> Callable[..., tuple[str, nn.Module]] | None:
        """What makes a layer of this kind, from its place in the list and its options; None for those of neurons."""
        match kind:
            case "linear":
                return self._linear
            case "conv":
                return self._conv
            case "temporal":
                return self._temporal
            case "max_pool":
                return self._max_pool
            case "average_pool":
                return self._average_pool
            case "flatten":
                return self._flatten
            case "neuron":
                return self._neuron
        return None

    def flat(self, index: int, kind: str) -> int:
        if len(self.shape) != 1:
            raise ConfigError(
                f"sequence layer {index}, '{kind}': expected one axis, got values of shape {self.shape}; "
                "put a flatten before it"
            )
        return self.shape[0]

    def _image(self, index: int, kind: str) -> int:
        if len(self.shape) != 3:
            raise ConfigError(
                f"sequence layer {index}, '{kind}': expected (channels, height, width), got values of shape "
                f"{self.shape}; put it before the flatten"
            )
        return self.shape[0]

    def _linear(self, index: int, outputs: int, bias: bool = True) -> tuple[str, nn.Module]:
        inputs = self.flat(index, "linear")
        self.synapses, self.shape = self.synapses + 1, (outputs,)
        kind = BinaryLinear if self._binary else Linear
        return f"linear{self.synapses}", kind(inputs, outputs, bias=bias)

    def _conv(
        self, index: int, outputs: int, kernel: Sides, stride: Sides = 1, padding: Sides = 0, dilation: Sides = 1,
        groups: int = 1, bias: bool = True,
    ) -> tuple[str, nn.Module]:  # fmt: skip
        inputs = self._image(index, "conv")
        self.synapses += 1
        kind = BinaryConv2d if self._binary else Conv2d
        layer = kind(inputs, outputs, _pair(kernel), _pair(stride), _pair(padding), _pair(dilation), groups, bias)
        return f"conv{self.synapses}", self._measured(index, "conv", layer)

    def _temporal(
        self, index: int, outputs: int, kernel: int, dilation: int = 1, bias: bool = True
    ) -> tuple[str, nn.Module]:
        inputs = self.flat(index, "temporal")
        self.synapses, self.shape = self.synapses + 1, (outputs,)
        layer = TemporalConv(inputs, outputs, kernel, dilation, binary=self._binary, bias=bias)
        return f"conv{self.synapses}", layer

    def _max_pool(
        self, index: int, kernel: Sides, stride: Sides | None = None, padding: Sides = 0
    ) -> tuple[str, nn.Module]:
        return self._pool(index, "max_pool", nn.MaxPool2d, kernel, stride, padding)

    def _average_pool(
        self, index: int, kernel: Sides, stride: Sides | None = None, padding: Sides = 0
    ) -> tuple[str, nn.Module]:
        return self._pool(index, "average_pool", nn.AvgPool2d, kernel, stride, padding)

    def _pool(
        self, index: int, kind: str, make: type[nn.Module], kernel: Sides, stride: Sides | None, padding: Sides
    ) -> tuple[str, nn.Module]:
        self._image(index, kind)
        layer = make(_pair(kernel), _pair(kernel if stride is None else stride), _pair(padding))
        return f"pool{self.synapses}", self._measured(index, kind, layer)

    def _flatten(self, index: int) -> tuple[str, nn.Module]:  # noqa: ARG002
        self.shape = (math.prod(self.shape),)
        return "flatten", nn.Flatten(1)

    def _neuron(self, index: int) -> tuple[str, nn.Module]:  # noqa: ARG002
        return f"neuron{self.synapses}", self.neuron.sized(self.shape[0])

    @property
    def _binary(self) -> bool:
        """As everywhere, the first synapse keeps real weights."""
        return self.weights == "binary" and self.synapses > 1

    def _measured(self, index: int, kind: str, layer: nn.Module) -> nn.Module:
        """The layer, after `shape` is what leaves it."""
        try:
            with torch.no_grad():
                self.shape = tuple(layer(torch.zeros(1, *self.shape)).shape[1:])
        except RuntimeError as error:
            raise ConfigError(
                f"sequence layer {index}, '{kind}': expected a window that fits values of shape {self.shape}: {error}"
            ) from None
        return layer


def _pair(value: Sides) -> tuple[int, int]:
    """A number or (rows, columns) as (rows, columns)."""
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2 or not all(type(side) is int for side in sides):
        raise TypeError(f"expected a whole number or a list of two, got {value!r}")
    return sides[0], sides[1]
