"""Fully connected networks. First layer and readout have real-valued weights; `weights` says what is between."""

from collections.abc import Sequence

from edgesnn.layers import BinaryLinear, Linear, Readout
from edgesnn.models.blocks import Feedback
from edgesnn.models.network import Network
from edgesnn.models.parts import Layers, Parts, checked_sizes, dropout_layer
from edgesnn.models.registry import constructor
from edgesnn.neurons import Neuron


@constructor
def mlp(
    inputs: int,
    hidden: Sequence[int],
    classes: int,
    neuron: Neuron | None = None,
    weights: str = "binary",
    seed: int = 0,
    leak: float = 1.0,
    norm: str = "batch",
) -> Network:
    """linear1, norm1, neuron1, linear2, ..., readout. `neuron` is a prototype: each layer gets its own copy."""
    parts = Parts(neuron, weights, norm)
    layers: Layers = {}
    width = inputs
    for i, size in enumerate(checked_sizes("mlp hidden", hidden), start=1):
        layers |= parts.linear_unit(i, width, size, first=i == 1)
        width = size
    layers["readout"] = Readout(width, classes, leak)
    return Network(layers, {}, (inputs,), classes)


@constructor
def recurrent(
    inputs: int,
    hidden: int,
    classes: int,
    neuron: Neuron | None = None,
    weights: str = "binary",
    seed: int = 0,
    leak: float = 1.0,
    norm: str = "standardized",
    dropout: float = 0.0,
) -> Network:
    """linear1, recurrent1 (neuron1 that also hears all its spikes of the step before), readout.

    With 784 inputs and 400 neurons the 784-400R-10 of OTTT (supplement D.3): weights from the input standardized, those
    of the recurrence plain. Real-valued recurrent weights start at 0, as the feedback of the paper's VGG does.
    """
    checked_sizes("recurrent hidden", [hidden])
    parts = Parts(neuron, weights, norm)
    layers = parts.linear_unit(1, inputs, hidden, first=True)
    body = {"neuron1": layers.pop("neuron1")}
    feedback = (BinaryLinear if weights == "binary" else Linear)(hidden, hidden, bias=False)
    if weights == "float":
        feedback.weight.data.zero_()
    layers["recurrent1"] = Feedback(body, {"linear1": feedback})
    layers |= dropout_layer(1, dropout)
    layers["readout"] = Readout(hidden, classes, leak)
    return Network(layers, {}, (inputs,), classes)
